"""The command: ``python3 -m deploy.trial PROFILE…``; it ends with 1 if something did not hold."""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from deploy.trial import backup, cluster, default, first_try, image, monitoring, scale, tls
from deploy.trial.containers import Containers, Failed

PROFILES: Final[dict[str, tuple[tuple[str, ...], Callable[[Containers], None]]]] = {
    "image": ((), image.run),
    "default": ((), default.run),
    "first-try": (("deploy/first-try.yml",), first_try.run),
    "scale": ((), scale.run),
    "tls": (("deploy/tls.yml",), tls.run),
    "cluster": (("deploy/cluster.yml",), cluster.run),
    "backup": ((), backup.run),
    "monitoring": ((), monitoring.run),
}


def main() -> int:
    """Try the profiles that are named, one after the other."""
    parser = argparse.ArgumentParser(prog="python3 -m deploy.trial", description=__doc__)
    parser.add_argument("profiles", nargs="+", choices=PROFILES, metavar="PROFILE")
    parser.add_argument("--keep", action="store_true", help="leave the last profile running")
    asked = parser.parse_args()
    for name in asked.profiles:
        files, run = PROFILES[name]
        with tempfile.TemporaryDirectory(prefix="usersync-trial-") as folder:
            containers = Containers(name, files, Path(folder))
            try:
                run(containers)
            except Failed as failure:
                containers.say(f"FAILED: {failure}")
                print(containers.compose("ps", "--all"))
                print(containers.compose("logs", "--tail=15"))
                return 1
            finally:
                if not asked.keep:
                    containers.remove()
        containers.say("holds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
