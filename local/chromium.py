"""Find or install a Chromium for the tests of the pages.

In this order: the program that `LOCAL_CHROMIUM` names; an installed one; Debian's package, as root
on Debian; otherwise an error that says what to install. Playwright's own browsers are not used:
they come from outside the package registries.
"""

import os
import shutil
from pathlib import Path

from local import apt
from local.errors import LocalError

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_MACOS = (
    Path("/Applications/Chromium.app/Contents/MacOS/Chromium"),
    Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"),
)

_OTHERWISE = "install Chromium or Chrome, or name one in LOCAL_CHROMIUM"


def find_chromium() -> Path:
    """Return the path of the program.

    Raises:
        LocalError: there is none.
    """
    told = os.environ.get("LOCAL_CHROMIUM")
    if told:
        program = Path(told)
        if not program.is_file():
            raise LocalError(f"LOCAL_CHROMIUM: {told} is not a file.")
        return program
    found = [Path(path) for name in _PROGRAMS if (path := shutil.which(name))]
    found += [path for path in _MACOS if path.exists()]
    if not found:
        raise LocalError(f"No Chromium found; {_OTHERWISE}.")
    return found[0]


def install_chromium() -> None:
    """Install Chromium unless `find_chromium` finds one.

    Raises:
        LocalError: it cannot be installed on this machine.
    """
    try:
        find_chromium()
    except LocalError:
        if "LOCAL_CHROMIUM" in os.environ or not apt.is_possible():
            raise
        # Playwright's driver crashes without libatomic; without a font, pages show boxes.
        apt.install("chromium", "libatomic1", "fonts-dejavu-core", otherwise=_OTHERWISE)
