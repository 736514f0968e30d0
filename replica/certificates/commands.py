"""The commands ``proofs …``: list the source's certificates, and verify them."""

import json
import sys
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from service_kit.database.commands import on_database
from service_kit.process.errors import OperatorError
from service_kit.process.load import load
from service_kit.process.terminal import (
    AsJson,
    failing_with,
    failing_with_a_sentence,
    instant,
    plain,
)
from service_kit.process.times import time_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncEngine

    from contracts.sync.certificate_keys import CertificateKeys
    from replica.certificates.verify import Stored, Verification
    from replica.service import Service

STDIN: Final = "-"


class Exit(IntEnum):
    """Exit codes of ``proofs verify``."""

    VERIFIED = 0
    FAULTS = 1
    NOT_VERIFIED = 2
    """There was nothing to verify, or nothing to verify it with."""


Since = Annotated[
    datetime | None,
    typer.Option(parser=instant, metavar="T", help="Certificates of T or later; UTC by default."),
]
Until = Annotated[
    datetime | None, typer.Option(parser=instant, metavar="T", help="Certificates before T.")
]


def proofs_commands(command: str) -> typer.Typer:
    """Make the commands ``proofs …`` of a service.

    Parameters:
        command: the service's, for examples.
    """
    app = typer.Typer(no_args_is_help=True, help="List and verify the source's certificates.")
    app.command("list", epilog=f"Example: {command} proofs list --since 2026-01-31")(show_all)
    app.command(epilog=f"Example: {command} proofs verify --keys keys.json")(verify)
    return app


@failing_with_a_sentence
def show_all(
    context: typer.Context,
    since: Since = None,
    until: Until = None,
    as_texts: Annotated[
        bool, typer.Option("--raw", help="The signed texts alone, one a line, to verify elsewhere.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List certificates, oldest first: those of the last day, then one an hour, one a day."""
    from replica.certificates.bodies import CertificateBody
    from replica.certificates.store import between

    async def read(engine: "AsyncEngine") -> "Sequence[Row[Any]]":
        async with engine.connect() as connection:
            return await between(connection, since, until)

    service: Service = context.obj()
    found = on_database(load(service.database), read)
    bodies = [CertificateBody.of(row) for row in found]
    if as_json:
        print(json.dumps({"items": [body.model_dump(mode="json") for body in bodies]}))
        return
    for body in bodies:
        print(body.certificate if as_texts else _line(body))
    if not found:
        print("there are no certificates", file=sys.stderr)


@failing_with(Exit.NOT_VERIFIED)
def verify(
    context: typer.Context,
    file: Annotated[
        str | None,
        typer.Argument(metavar="[FILE|-]", help="Certificates as `list --raw` prints them."),
    ] = None,
    since: Since = None,
    until: Until = None,
    keys: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keys from `auth-service keys export`: offline."),
    ] = None,
    newest: Annotated[
        str | None,
        typer.Option(metavar="HASH", help="A hash from the source's log that must be there."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify the chain of certificates with the source's public keys.

    Exit code 0: all verify; 1: some were altered, left out, reordered, or are signed by a revoked
    key; 2: nothing could be verified.

    Without FILE they are read from the database, without --keys the keys come from the source. With
    both, the command needs no settings. The certificates before --since are not missed.
    """
    from replica.certificates import verify as verifying
    from replica.certificates.verify import Expected

    service: Service = context.obj()
    given = None if file is None else _texts(file)
    known = None if keys is None else _keys(keys)
    consumer = None
    revoked: set[str] = set()
    if given is None or known is None:
        settings = load(service.reconcile)
        consumer = settings.service_id
        given, known, revoked = on_database(
            settings, lambda engine: _read(service, engine, given, known)
        )
    expected = Expected(known, revoked, consumer, newest)
    found = verifying.verify(given, expected, since=since, until=until)
    _show(found, as_json=as_json)
    if found.findings:
        raise typer.Exit(Exit.FAULTS)
    if not found.certificates:
        raise typer.Exit(Exit.NOT_VERIFIED)


async def _read(
    service: "Service",
    engine: "AsyncEngine",
    given: "list[Stored] | None",
    known: "CertificateKeys | None",
) -> "tuple[list[Stored], CertificateKeys, set[str]]":
    """Read what no file gives: certificates from the database, keys from the source."""
    from replica.certificates.store import all_stored
    from replica.reconcile.model import CouldNotCompare
    from replica.reconcile.source import Source

    revoked: set[str] = set()
    if given is None:
        async with engine.connect() as connection:
            given, revoked = await all_stored(connection)
    if known is None:
        try:
            async with Source(load(service.reconcile)) as source:
                known = await source.keys()
        except CouldNotCompare as error:
            raise OperatorError(f"no keys to verify with: {error}; or give --keys") from None
    return given, known, revoked


def _texts(file: str) -> "list[Stored]":
    from replica.certificates.verify import Stored

    text = sys.stdin.read() if file == STDIN else Path(file).read_text(errors="replace")
    return [Stored(line) for line in text.split()]


def _keys(path: Path) -> "CertificateKeys":
    from contracts.sync.certificate_keys import CertificateKeys

    try:
        return CertificateKeys.read(path.read_bytes())
    except ValueError as error:
        raise OperatorError(f"--keys: {path} is {error}") from None


def _line(body: Any) -> str:
    said = body.says
    if said is None:
        return f"{body.hash}  cannot be read: run `proofs verify`"
    parts = (
        f"{said.number:>8}",
        f"{time_text(said.time)}",
        f"{said.users + said.tombstones:,} users",
        f"root {said.root[:16]}",
        f"heartbeat {said.heartbeat}",
        body.hash,
    )
    return "  ".join(parts)


def _show(found: "Verification", *, as_json: bool) -> None:
    from replica.certificates.agreement import figures

    if as_json:
        report = {
            "verified": not found.findings and found.certificates > 0,
            "certificates": found.certificates,
            "first": None if found.first is None else found.first.certificate.payload(),
            "last": None if found.last is None else found.last.certificate.payload(),
            "newest_hash": None if found.last is None else found.last.hash,
            "findings": [
                {"fault": each.fault, "number": each.number, "text": each.text}
                for each in found.findings
            ],
            "notes": list(found.notes),
            "agreement": None if found.agreement is None else figures(found.agreement),
        }
        print(json.dumps(report, default=plain))
        return
    for finding in found.findings:
        print(finding.text)
    for note in found.notes:
        print(f"note: {note}")
    if found.first is None or found.last is None:
        print("there are no certificates to verify", file=sys.stderr)
        return
    first, last = found.first.certificate, found.last.certificate
    result = f"{len(found.findings)} faults" if found.findings else "all verify"
    print(
        f"{found.certificates:,} certificates, number {first.number} to {last.number},"
        f" {time_text(first.time)} to {time_text(last.time)}: {result}"
    )
    if found.agreement is not None:
        print(f"proved equal: {found.agreement.text} of this time")
