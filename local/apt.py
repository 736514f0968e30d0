"""Install Debian packages without starting their services.

Guarantees: the installation starts no service, so none listens on all addresses; an existing
`policy-rc.d` is restored afterwards.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.errors import LocalError
from local.lock import locked
from local.paths import LOGS
from local.progress import say

_POLICY = Path("/usr/sbin/policy-rc.d")
_LOCK = Path("/run/usersync-apt.lock")  # one per machine: another checkout may install too
_START_NOTHING = "#!/bin/sh\nexit 101\n"  # Debian's policy: 101 forbids the action
_LOCK_TIMEOUT_SECONDS = 300  # another installation on this machine may be running
_INSTALL_TIMEOUT_SECONDS = 900.0  # 200 MB over a slow line


def is_possible() -> bool:
    """Return whether this process may install Debian packages."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(*packages: str, otherwise: str) -> None:
    """Install Debian packages.

    Parameters:
        packages: their names; messages mention the first one.
        otherwise: what a person can do if that fails.

    Raises:
        LocalError: apt-get fails; names its log.
    """
    with locked(_LOCK):
        say(f"installing {packages[0]} with apt-get (no service is started)")
        LOGS.mkdir(parents=True, exist_ok=True)
        log = LOGS / "apt.log"
        with _nothing_starts():
            # Only a fresh container image has no package lists.
            if not _apt_get(log, "install", *packages):
                _apt_get(log, "update")
                if not _apt_get(log, "install", *packages):
                    raise LocalError(
                        f"apt-get cannot install {packages[0]} (see {log}); {otherwise}."
                    )


def _apt_get(log: Path, action: str, *packages: str) -> bool:
    command = [
        "apt-get",
        *("-y", "-o", f"DPkg::Lock::Timeout={_LOCK_TIMEOUT_SECONDS}"),
        *(action, "--no-install-recommends", *packages),
    ]
    with log.open("ab") as file:
        done = subprocess.run(
            command,
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            timeout=_INSTALL_TIMEOUT_SECONDS,
        )
    return done.returncode == 0


@contextmanager
def _nothing_starts() -> Iterator[None]:
    previous = _POLICY.with_name(f"{_POLICY.name}.before-usersync")
    if _POLICY.exists():
        _POLICY.rename(previous)
    try:
        _POLICY.write_text(_START_NOTHING)
        _POLICY.chmod(0o755)
        yield
    finally:
        _POLICY.unlink(missing_ok=True)
        if previous.exists():
            previous.rename(_POLICY)
