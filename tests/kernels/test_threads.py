"""Threads that wait for work sleep, unless the reader wants them awake."""

import os
import subprocess
import sys

import pytest

# what OMP_WAIT_POLICY is at the moment when torch is first looked for, by whichever entry leads there
WATCH = """
import os, sys
from runpy import run_module

class Watch:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "torch":
            print(os.environ.get("OMP_WAIT_POLICY"), flush=True)
            os._exit(0)

sys.meta_path.insert(0, Watch)
"""
ENTRIES = {
    "kernels": "import bestpapers.kernels.rasterize",
    "splatting": "sys.argv[1:] = ['capture', '--out', '/nowhere/x']; run_module('bestpapers.splatting', run_name='__main__')",
    "bioclip": "import bestpapers.bioclip.model",
}


def run(code, policy=None, **more):
    env = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"} | more
    if policy:
        env["OMP_WAIT_POLICY"] = policy
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("entry", ENTRIES)
def test_they_sleep_before_torch_is_loaded(entry):
    assert run(WATCH + ENTRIES[entry]).stdout.strip() == "passive"


def test_the_readers_choice_stays():
    assert run(WATCH + ENTRIES["kernels"], "active").stdout.strip() == "active"


def test_importing_the_package_loads_nothing():
    done = run("import sys, bestpapers; print(sorted({'torch', 'numba', 'numpy'} & set(sys.modules)))")
    assert done.stdout.strip() == "[]"


LOOP = """
from numba import njit, prange
import numpy as np

@njit(parallel=True)
def fill(x):
    for i in prange(len(x)):
        x[i] = i

fill(np.zeros(9))
"""


@pytest.mark.parametrize(("policy", "turns"), [(None, 0), ("active", 3 * 10**10)])
@pytest.mark.parametrize("imports", ["import torch", LOOP], ids=["torch", "numba"])
def test_the_pools_hear_of_it(imports, policy, turns):
    """By the word of the OpenMP runtime itself, which prints its settings when it is loaded: how often a thread looks for work
    before it sleeps, which would be 300,000 times by default."""
    done = run("import bestpapers\n" + imports, policy, OMP_DISPLAY_ENV="verbose")
    if "GOMP_SPINCOUNT" not in done.stderr:
        pytest.skip("here the pool is not that of GNU's OpenMP")
    assert f"GOMP_SPINCOUNT = '{turns}'" in done.stderr
