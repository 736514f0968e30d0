"""Run a program to its end."""

import subprocess
import sys
from typing import Any


def ran(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Return how the program ended and what it printed; ``options`` are those of subprocess."""
    options = {"timeout": 60, "check": False} | options
    return subprocess.run(command, capture_output=True, text=True, **options)


def python(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Do the same with Python."""
    return ran(sys.executable, *arguments, **options)
