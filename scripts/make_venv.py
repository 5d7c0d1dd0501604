"""Make .venv if it is missing or stale, from the pinned versions. Needs nothing but Python 3.11 or newer with venv.

Stale means: pyproject.toml or requirements.lock changed, another Python is asked for, or the folder was moved.
"""

import hashlib
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
STAMP = VENV / "bestpapers.stamp"
UV = "uv==0.13.9"


def home():
    """What the environment is tied to: the Python version and the folder."""
    return f"python {sys.version_info[0]}.{sys.version_info[1]}\nfolder {VENV}\n"


def key():
    """What the environment was made from; equal keys need no work."""
    h = hashlib.sha256()
    for name in ("pyproject.toml", "requirements.lock"):
        h.update((ROOT / name).read_bytes() + b"\0")
    return f"{home()}made from {h.hexdigest()}\n"


def show(*command):
    print("+", *command, flush=True)
    subprocess.run(command, check=True, cwd=ROOT)


def main():
    if sys.version_info < (3, 11):  # noqa: UP036 (this file also runs where nothing is installed yet)
        found = f"{sys.version_info[0]}.{sys.version_info[1]} at {sys.executable}"
        sys.exit(f"Python 3.11 or newer is needed; this is {found}. Name another one: make book PYTHON=python3.12")
    stamp = STAMP.read_text() if STAMP.exists() else ""
    if stamp == key():
        return
    if VENV.is_symlink():  # `venv --clear` would empty the folder that it leads to
        sys.exit(
            f"{VENV} is a link to {VENV.resolve()}, and what is there was not made for this folder from these files. "
            "It is left as it is: remove the link, and .venv is made here; or call that environment's python yourself"
        )
    begin = time.perf_counter()
    print("Making .venv from requirements.lock: about a minute, some 6 GB on disk (torch brings its CUDA libraries)")
    try:
        if not stamp.startswith(home()):
            base = getattr(sys, "_base_executable", sys.executable)  # not .venv's own, which is about to be cleared
            show(base, "-m", "venv", "--clear", str(VENV))
            show(str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", UV)
        STAMP.unlink(missing_ok=True)
        pins = ("-c", "requirements.lock", "-e", ".[book,test]")
        show(str(PYTHON), "-m", "uv", "pip", "install", "--python", str(PYTHON), "--compile-bytecode", *pins)
    except subprocess.CalledProcessError as e:
        hint = " On Debian and Ubuntu: apt-get install python3-venv" if "venv" in e.cmd else ""
        sys.exit(f".venv is not ready: the command above failed.{hint}")
    STAMP.write_text(key())
    print(f".venv is ready ({time.perf_counter() - begin:.0f} s)")


if __name__ == "__main__":
    main()
