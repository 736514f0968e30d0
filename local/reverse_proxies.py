"""Find or install nginx, HAProxy and Caddy for the tests of `docs/deploy-behind-a-proxy.md`.

In this order: the installed program; Debian's package, as root on Debian; otherwise an error that
says what to install.
"""

import os
import shutil
from pathlib import Path
from typing import Final

from local import apt
from local.errors import LocalError

PROXIES: Final = ("nginx", "haproxy", "caddy")

_FOLDERS = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))


def reverse_proxy(name: str) -> Path:
    """Find a reverse proxy by its name, or install it.

    Raises:
        LocalError: it is not installed and cannot be.
    """
    otherwise = f"install {name}"
    if shutil.which(name, path=_FOLDERS) is None and apt.is_possible():
        apt.install(name, otherwise=otherwise)
    found = shutil.which(name, path=_FOLDERS)
    if found is None:
        raise LocalError(f"No {name} found; {otherwise}.")
    return Path(found)
