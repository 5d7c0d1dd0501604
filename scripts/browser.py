"""Find a Chromium for the browser test, or install one.

python scripts/browser.py        prints its path, installing one if there is none
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

WHAT_TO_DO = """\
No Chromium was found for the browser test. One of these gives it one:
- install Chromium or Google Chrome, so that chromium, chromium-browser or google-chrome is on the PATH
- set BESTPAPERS_CHROMIUM to the program's path
- .venv/bin/python -m playwright install chromium"""

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def find() -> str | None:
    """Path of a Chromium: BESTPAPERS_CHROMIUM, then the PATH, then the one that playwright has installed."""
    if named := os.environ.get("BESTPAPERS_CHROMIUM"):
        if not os.access(named, os.X_OK):
            raise FileNotFoundError(f"BESTPAPERS_CHROMIUM names {named}, which is no program")
        return named
    for program in NAMES:
        if path := shutil.which(program):
            return path
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        path = p.chromium.executable_path
    return path if Path(path).exists() else None


def ensure() -> str:
    """Path of a Chromium, installing one when there is none. Raises RuntimeError with what to do instead."""
    if path := find():
        return path
    if hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        attempts = [
            ["apt-get", "update", "-q"],
            ["apt-get", "install", "-y", "-q", "--no-install-recommends", "chromium"],
        ]
    else:
        attempts = [[sys.executable, "-m", "playwright", "install", "chromium"]]
    for command in attempts:
        print("+", *command, flush=True)
        if subprocess.run(command, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}).returncode:
            break
    if path := find():
        return path
    raise RuntimeError(WHAT_TO_DO)


if __name__ == "__main__":
    try:
        print(ensure())
    except (RuntimeError, FileNotFoundError) as e:
        sys.exit(str(e))
