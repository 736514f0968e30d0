"""Refuse revisions that keep writers out, or that processes of the last release do not survive.

``make check`` runs it: Alembic writes the SQL of each revision, and squawk judges it
(https://squawkhq.com/docs/rules). One rule, about locks, is our own. The remedies are in
``concurrently``, or take two releases instead of one:
docs/decisions/0057-migrations-that-keep-nobody-waiting.md.

A revision is excused from a rule by a comment in its file, with the reason::

    # allow ban-drop-column: no release reads it since 0.3
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Final

from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

ROOT: Final = Path(__file__).parents[1]
SERVICES: Final = ("auth", "blog")

OLDEST_POSTGRESQL: Final = "15"
"""Of the servers that tests run on; newer ones lock less."""

MATTERS_OF_STYLE: Final = (
    "ban-char-field",
    "prefer-bigint-over-int",
    "prefer-bigint-over-smallint",
    "prefer-identity",
    "prefer-robust-stmts",
    "prefer-text-field",
    "prefer-timestamptz",
    "require-table-schema",
    "require-timeout-settings",
)
"""Rules of squawk about taste, or about what ``environment`` and ``concurrently`` do for all."""

TWO_TABLES: Final = "two-tables-in-one-transaction"
"""Our own rule; all others are squawk's."""

_ONE_AT_A_TIME: Final = (
    "a writer who took the second one first meets a deadlock: change each in its own revision"
)
_TRANSACTION: Final = re.compile(r"^BEGIN;$(.*?)^COMMIT;$", re.MULTILINE | re.DOTALL)
_CREATED: Final = re.compile(r"^CREATE TABLE (\w+)", re.MULTILINE)
_LOCKED: Final = re.compile(
    r"""^ALTER\ TABLE\ (?:IF\ EXISTS\ )?(?:ONLY\ )?"?(\w+)
    | ^DROP\ TABLE\ (?:IF\ EXISTS\ )?"?(\w+)
    | ^(?:CREATE|DROP)\ [\w\ ]*TRIGGER\ .*\ ON\ "?(\w+)
    | \bREFERENCES\ "?(\w+)  # a foreign key keeps writers of the table out that it refers to
    """,
    re.MULTILINE | re.VERBOSE,
)
_ALLOWED: Final = re.compile(r"^# allow (?P<rule>[\w-]+)(?:: (?P<reason>\S.*))?$", re.MULTILINE)


@dataclass(frozen=True)
class Finding:
    """What is wrong in one revision.

    Parameters:
        place: the file of the revision.
        rule: squawk's name for it.
        message: what it does to others, and the remedy.
    """

    place: str
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.rule}: {self.message}"


def main() -> None:
    """Print every finding; exit with 1 if there is one."""
    findings = [each for service in SERVICES for each in _of_service(service)]
    for finding in findings:
        print(finding)
    sys.exit(bool(findings))


def find(place: str, upgrade: Callable[[], None], source: str) -> list[Finding]:
    """Judge one revision.

    Parameters:
        place: what findings call it.
        upgrade: its function.
        source: its text, with the comments that allow something.
    """
    sql = sql_of(upgrade)
    found = [*_squawk(place, sql), *_of_two_tables(place, sql)]
    allowed = {match["rule"]: match["reason"] for match in _ALLOWED.finditer(source)}
    rules = {finding.rule for finding in found}
    return [
        *(finding for finding in found if not allowed.get(finding.rule)),
        *(
            Finding(place, rule, "is allowed without need: remove the comment")
            for rule in allowed
            if rule not in rules
        ),
    ]


def sql_of(upgrade: Callable[[], None]) -> str:
    """Return the SQL that a revision runs, with its transactions."""
    written = StringIO()
    context = MigrationContext.configure(
        dialect_name="postgresql", opts={"as_sql": True, "output_buffer": written}
    )
    with Operations.context(context):
        upgrade()
    return f"BEGIN;\n{written.getvalue()}\nCOMMIT;\n"


def _of_service(service: str) -> Iterator[Finding]:
    config = Config(str(ROOT / "alembic.ini"), ini_section=service)
    for revision in ScriptDirectory.from_config(config).walk_revisions():
        path = Path(revision.path)
        yield from find(str(path.relative_to(ROOT)), revision.module.upgrade, path.read_text())


def _of_two_tables(place: str, sql: str) -> list[Finding]:
    """Find transactions that lock a second table which was there before."""
    created = set(_CREATED.findall(sql))
    for transaction in _TRANSACTION.findall(sql):
        locked = {name for names in _LOCKED.findall(transaction) for name in names if name}
        locked -= created
        if len(locked) > 1:
            return [Finding(place, TWO_TABLES, f"{', '.join(sorted(locked))}: {_ONE_AT_A_TIME}")]
    return []


def _squawk(place: str, sql: str) -> list[Finding]:
    squawk = str(Path(sys.executable).with_name("squawk"))
    judged = subprocess.run(  # noqa: S603 - a program of our own environment
        [
            squawk,
            "--reporter=json",
            f"--pg-version={OLDEST_POSTGRESQL}",
            f"--exclude={','.join(MATTERS_OF_STYLE)}",
            f"--stdin-filepath={place}",
        ],
        input=sql,
        capture_output=True,
        text=True,
    )
    if not judged.stdout:
        sys.exit(f"squawk cannot judge {place}: {judged.stderr}")
    return [
        Finding(place, each["rule_name"], " ".join(filter(None, (each["message"], each["help"]))))
        for each in json.loads(judged.stdout)
    ]


if __name__ == "__main__":
    main()
