"""Write RabbitMQ's definitions of this system's accounts from the contracts.

``python -m contracts.events.write_definitions`` writes the file that is checked in; ``--check``
fails when it differs. With names of services, such as ``blog newsletter``, it prints definitions
for these consumers instead. With ``--passwords FOLDER --to FOLDER`` it writes ``definitions.json``
with users as well, and hashes of their passwords, from the files ``rabbitmq-NAME`` of their folder:
docker-compose.yml loads that. Another service gets its account by its file alone, such as
``rabbitmq-newsletter-consumer``.
"""

import argparse
import json
import secrets
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Final

from contracts.events.accounts import SALT_BYTES, accounts, consumer, definitions, password_hash

FILE: Final = Path(__file__).parent / "definitions.json"
VHOST: Final = "usersync"
CONSUMERS: Final = ("blog",)
"""The services of this repository that read events."""

ADMINISTRATOR: Final = "usersync"
"""An account for people and the management page; no process has it."""


def generate(vhost: str = VHOST, consumers: Collection[str] = CONSUMERS) -> str:
    """Return the definitions as JSON."""
    return json.dumps(definitions(vhost, consumers), indent=2) + "\n"


def generate_with_users(passwords: Path) -> str:
    """Return the definitions with users, who get their passwords from files, as JSON.

    Raises:
        OSError: a file of this repository's services is missing.
    """
    given = _file_of(consumer("*"))
    before, after = given.split("*")
    others = {path.name.removeprefix(before).removesuffix(after) for path in passwords.glob(given)}
    consumers = [*CONSUMERS, *sorted(others.difference(CONSUMERS))]
    found = definitions(VHOST, consumers)
    tags = {account.name: account.tags for account in accounts(consumers)}
    files = {name: _file_of(name) for name in tags} | {ADMINISTRATOR: "rabbitmq-administrator"}
    found["users"] = [
        {
            "name": name,
            "password_hash": password_hash(
                (passwords / file).read_text().strip(), secrets.token_bytes(SALT_BYTES)
            ),
            "hashing_algorithm": "rabbit_password_hashing_sha256",
            "tags": tags.get(name, "administrator"),
        }
        for name, file in files.items()
    ]
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    found["permissions"].append({"user": ADMINISTRATOR, "vhost": VHOST, **everything})
    return json.dumps(found, indent=2) + "\n"


def _file_of(account: str) -> str:
    return f"rabbitmq-{account}"


def main(arguments: list[str]) -> int:
    """Write, print, or compare the definitions; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m contracts.events.write_definitions", description=__doc__.split("\n")[0]
    )
    parser.add_argument("services", nargs="*", help="print definitions for these consumers")
    parser.add_argument("--vhost", default=VHOST, help="the virtual host, for printing")
    parser.add_argument("--check", action="store_true", help="fail if the file is out of date")
    parser.add_argument("--passwords", type=Path, help="the folder with a file for each user")
    parser.add_argument("--to", type=Path, help="the folder for definitions.json with users")
    asked = parser.parse_args(arguments)
    if (asked.passwords is None) != (asked.to is None):
        parser.error("--passwords and --to belong together")
    if asked.passwords:
        (asked.to / FILE.name).write_text(generate_with_users(asked.passwords))
        return 0
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
