"""Our image: its size, unpacked, and that nothing was left out of it that our code loads."""

import subprocess
import tarfile
from typing import Final

from deploy.trial.containers import PROJECT, Containers, require

MEGABYTES_MAX: Final = 200
"""Of all files, also those of the system below; with the extra as well."""

_IMAGE: Final = f"{PROJECT}-auth-api"

_LOAD_EVERYTHING: Final = """
import importlib, importlib.util, pkgutil, sys
traces = importlib.util.find_spec("opentelemetry.sdk") is not None
for package in ("auth_service", "blog_service", "contracts", "replica", "service_kit"):
    for each in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        if not each.name.endswith("__main__") and (traces or ".tracing" not in each.name):
            importlib.import_module(each.name)
import alembic.command
print(traces, len(sys.modules))
"""


def run(containers: Containers) -> None:
    """Build it, without the extra and with it; load all modules, and add up all files."""
    for extra in ("", "otel"):
        containers.settings["BUILD_EXTRA"] = extra
        containers.compose("build", "auth-api")
        loaded = _docker("run", "--rm", _IMAGE, "python", "-c", _LOAD_EVERYTHING).decode().split()
        require(loaded[0] == str(extra == "otel"), f"the extra {extra!r}: {loaded}")
        megabytes = _unpacked_bytes() / 1e6
        containers.say(f"{megabytes:.1f} MB {extra or 'without an extra'}; {loaded[1]} modules")
        require(megabytes < MEGABYTES_MAX, f"the image has {megabytes:.1f} MB")


def _unpacked_bytes() -> int:
    """What a container of the image has on disk; stores of images count in different ways."""
    container = _docker("create", _IMAGE).decode().strip()
    try:
        exported = subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE)
        with exported, tarfile.open(fileobj=exported.stdout, mode="r|") as files:
            return sum(each.size for each in files)
    finally:
        _docker("rm", container)


def _docker(*arguments: str) -> bytes:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True).stdout
