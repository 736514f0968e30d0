"""The command ``auth-service users import``."""

import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Final

import typer

from service_kit.database.commands import on_database
from service_kit.process.errors import OperatorError
from service_kit.process.id_lists import STDIN
from service_kit.process.load import load
from service_kit.process.progress import Progress
from service_kit.process.terminal import EXIT_FAILED, AsJson, failing_with_a_sentence, show

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from auth_service.imports.model import Report, Verdict

EXAMPLE: Final = "Example: auth-service users import --from keycloak --dry-run users.jsonl"

NAMES: Final = ("usersync", "django", "devise", "auth0", "firebase", "keycloak")

PER_SECOND_DEFAULT: Final = 5_000
"""A million in under four minutes, where the machine has time for it. A relay publishes four times
as many, and a consumer applies twice as many beside it."""

PER_SECOND_MAX: Final = 100_000

_COUNTED_BYTES: Final = 1024 * 1024


def _known(name: str) -> str:
    if name not in NAMES:
        raise typer.BadParameter(f"use one of {', '.join(NAMES)}")
    return name


@failing_with_a_sentence
def import_users(
    file: Annotated[
        str, typer.Argument(metavar="FILE|-", help="One JSON object a line; - is standard input.")
    ],
    source: Annotated[
        str,
        typer.Option("--from", parser=_known, metavar="SYSTEM", help=f"{', '.join(NAMES)}."),
    ] = "usersync",
    namespace: Annotated[
        str | None,
        typer.Option(help="Distinguishes the ids of several systems. Default: the system."),
    ] = None,
    without_ids: Annotated[
        bool,
        typer.Option(
            "--without-ids",
            help="Take lines without an id, by their addresses. Only once: again, such a file would"
            " bring back users who were deleted or changed their address since.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Report what would happen, and write nothing.")
    ] = False,
    per_second: Annotated[
        int,
        typer.Option(min=1, max=PER_SECOND_MAX, help="How many users at most."),
    ] = PER_SECOND_DEFAULT,
    at_once: Annotated[
        bool,
        typer.Option("--at-once", help="As fast as possible: the events of others wait meanwhile."),
    ] = False,
    salt_separator: Annotated[
        str, typer.Option(help="base64_salt_separator of the Firebase project.")
    ] = "",
    rounds: Annotated[int, typer.Option(min=1, help="rounds of the Firebase project.")] = 8,
    mem_cost: Annotated[
        int, typer.Option(min=1, max=99, help="mem_cost of the Firebase project.")
    ] = 14,
    as_json: AsJson = False,
) -> None:
    """Import the users of another system, with their password hashes.

    Each user can sign in with their password, and gets a hash of ours then. Running the same file
    again changes nothing, so an interrupted import is simply repeated. A line in conflict with an
    account, or that cannot be read, is reported with its number and skipped; the exit code is 1
    then.

    The guide docs/import-users.md has an example for each system.
    """
    from auth_service.imports.load import import_users as use_case
    from auth_service.imports.pace import Pace
    from auth_service.imports.sources import Form
    from auth_service.settings import OperatorSettings
    from service_kit.process.actors import operator

    settings = load(OperatorSettings)
    if source == "firebase" and settings.firebase_signer_key is None:
        raise OperatorError(
            "set AUTH_FIREBASE_SIGNER_KEY, here and for the API: without it nobody could sign in"
        )
    form = Form(source, namespace or source, without_ids, salt_separator, rounds, mem_cost)

    with _opened(file) as lines:
        progress = Progress("judging" if dry_run else "importing", _count(lines))

        def tell(number: int, verdict: "Verdict") -> None:
            progress.say(f"line {number}  {verdict.outcome}: {verdict.reason}")

        async def work(engine: "AsyncEngine") -> "Report":
            return await use_case(
                engine,
                lines,
                form,
                actor=operator(),
                tell=tell,
                progress=progress,
                pace=None if at_once else Pace(engine, per_second=per_second),
                dry_run=dry_run,
            )

        report = on_database(settings, work)
        progress.end()
    show(report.figures(), as_json=as_json)
    if not report.is_clean:
        raise typer.Exit(EXIT_FAILED)


def _opened(file: str) -> IO[bytes]:
    return sys.stdin.buffer if file == STDIN else Path(file).open("rb")


def _count(lines: IO[bytes]) -> int | None:
    """Count the lines of a file, which takes a second for a million; None for a stream."""
    if not lines.seekable():
        return None
    count = 0
    while chunk := lines.read(_COUNTED_BYTES):
        count += chunk.count(b"\n")
    lines.seek(0)
    return count
