"""Checkouts beside this one, in which a test may start and stop what `make up` does."""

import shutil
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parents[2]


def copied(folder: Path) -> Path:
    """Copy what starts the system to a new folder, and return it."""
    for package in ("local", "contracts"):
        shutil.copytree(_ROOT / package, folder / package, ignore=shutil.ignore_patterns("*.pyc"))
    shutil.copy(_ROOT / "Makefile", folder)
    return folder
