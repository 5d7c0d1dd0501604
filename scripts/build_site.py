"""Build the site from the stored notebooks into _build/html, warnings as errors, and check what came out."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time

import check_site
from stored import ROOT

JUPYTER_BOOK = "from jupyter_book.cli.main import main; main(prog_name='jupyter-book')"


def main() -> int:
    begin = time.perf_counter()
    shutil.rmtree(ROOT / "_build", ignore_errors=True)  # a cached page would not repeat its warning
    command = ["build", ".", "--toc", "book/_toc.yml", "-W", "-n", "--keep-going"]
    print("+ jupyter-book", *command, flush=True)
    code = subprocess.run([sys.executable, "-c", JUPYTER_BOOK, *command], cwd=ROOT).returncode
    found = check_site.problems(ROOT)
    for line in found:
        print(line)
    seconds = time.perf_counter() - begin
    if code or found:
        cause = "warnings are errors: see above" if code else f"{len(found)} problems in the built pages"
        print(f"The site did not pass ({cause}), {seconds:.0f} s", file=sys.stderr)
        return 1
    print(f"The site is built and checked, {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    sys.exit(main())
