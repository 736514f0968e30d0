"""Write RabbitMQ's definitions of this system's accounts from the contracts.

``python -m contracts.events.write_definitions`` writes the file that is checked in and that
docker-compose.yml loads; ``--check`` fails when it differs. With names of services, such as
``blog mailer``, it prints definitions for these consumers instead.
"""

import argparse
import json
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Final

from contracts.events.accounts import definitions

FILE: Final = Path(__file__).parent / "definitions.json"
VHOST: Final = "usersync"
CONSUMERS: Final = ("blog",)
"""The services of this repository that read events."""


def generate(vhost: str = VHOST, consumers: Collection[str] = CONSUMERS) -> str:
    """Return the definitions as JSON."""
    return json.dumps(definitions(vhost, consumers), indent=2) + "\n"


def main(arguments: list[str]) -> int:
    """Write, print, or compare the definitions; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m contracts.events.write_definitions", description=__doc__.split("\n")[0]
    )
    parser.add_argument("services", nargs="*", help="print definitions for these consumers")
    parser.add_argument("--vhost", default=VHOST, help="the virtual host, for printing")
    parser.add_argument("--check", action="store_true", help="fail if the file is out of date")
    asked = parser.parse_args(arguments)
    if asked.services:
        print(generate(asked.vhost, asked.services), end="")
        return 0
    if not asked.check:
        FILE.write_text(generate())
        return 0
    if FILE.exists() and FILE.read_text() == generate():
        return 0
    print(f"{FILE.name} differs from the contracts", file=sys.stderr)
    print("run: python -m contracts.events.write_definitions", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
