"""Find programs that only tests need, or install them.

In this order: the installed program; Debian's package, as root on Debian; otherwise an error that
says what to install. So no test is skipped for want of a program.
"""

import os
import shutil
from pathlib import Path

from local import apt
from local.errors import LocalError

_FOLDERS = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))


def debian_program(name: str, *, package: str | None = None) -> Path:
    """Find a program by its name, or install it.

    Parameters:
        name: the program's.
        package: Debian's package with it; by default it has the program's name.

    Raises:
        LocalError: it is not installed and cannot be.
    """
    package = package or name
    otherwise = f"install {package}"
    if shutil.which(name, path=_FOLDERS) is None and apt.is_possible():
        apt.install(package, otherwise=otherwise)
    found = shutil.which(name, path=_FOLDERS)
    if found is None:
        raise LocalError(f"No {name} found; {otherwise}.")
    return Path(found)
