"""Import the users of an export, batch after batch.

Guarantees: a user, their event and the audit entry of their batch are committed together. Any
interruption loses no more than one batch, and running the same file again continues: what is there
already is found and left as it is. Nothing of a user who is there already is changed. No e-mail
address is printed or logged, by PostgreSQL neither.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import IO, Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.audit.model import Action
from auth_service.audit.record import audit
from auth_service.imports.model import NEW, Earlier, Outcome, Report, Verdict, judge
from auth_service.imports.pace import Pace
from auth_service.imports.sources import Form, Unreadable, read_line
from auth_service.outbox.record import record_many
from auth_service.users.add_many import NewUser, add_many, find_present
from contracts.events import UserCreated
from service_kit.process.progress import Progress

BATCH: Final = 100
"""Users of one transaction: enough that its commit costs little, and few enough that their events
delay others by some milliseconds."""

LINE_BYTES_MAX: Final = 1024 * 1024
"""An object of an export takes a kilobyte, seldom a hundred. A longer line is not read to its end
at once."""

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

Tell = Callable[[int, Verdict], None]
"""Is called with the number and the verdict of each line that is neither new nor the same."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line by its number, from 1, and the user in it, or why there is none."""

    number: int
    user: NewUser | Verdict


class _Raced(Exception):
    """Another session has inserted a user with the same id at the same time."""


async def import_users(
    engine: AsyncEngine,
    lines: IO[bytes],
    form: Form,
    *,
    actor: str,
    tell: Tell,
    progress: Progress,
    pace: Pace | None,
    dry_run: bool = False,
) -> Report:
    """Import the user of each line that is new, and record ``user.created`` for each.

    Parameters:
        actor: for the audit log.
        tell: gets the lines that are conflicting or unreadable, in order.
        pace: how to let other users' events pass; None to record as fast as possible.
        dry_run: whether to judge only, and write nothing.
    """
    report, earlier = Report(), Earlier()
    batches = _batches(lines, form)
    # The next batch is read while the database works on this one.
    reading = asyncio.create_task(asyncio.to_thread(next, batches, None))
    while (batch := await reading) is not None:
        reading = asyncio.create_task(asyncio.to_thread(next, batches, None))
        verdicts = await _import(
            engine, batch, form, actor=actor, earlier=earlier if dry_run else None
        )
        for line, verdict in zip(batch, verdicts, strict=True):
            report.counts[verdict.outcome] += 1
            if verdict.reason is not None:
                tell(line.number, verdict)
        progress.advance(len(batch))
        if pace is not None and not dry_run and (new := verdicts.count(NEW)):
            await pace.wait(new, progress)
    return report


def read_lines(lines: IO[bytes], form: Form) -> Iterator[Line]:
    """Read one line after the other; empty ones count, but are skipped."""
    number = 0
    while line := lines.readline(LINE_BYTES_MAX + 1):
        number += 1
        is_too_long = len(line) > LINE_BYTES_MAX
        rest = line
        while len(rest) > LINE_BYTES_MAX and not rest.endswith(b"\n"):
            rest = lines.readline(LINE_BYTES_MAX + 1)
        if is_too_long:
            yield Line(number, Verdict(Outcome.UNREADABLE, "the line is longer than 1 MiB"))
        elif text := line.removeprefix(_BYTE_ORDER_MARK if number == 1 else b"").strip():
            try:
                yield Line(number, read_line(text, form, now=datetime.now(UTC)))
            except Unreadable as error:
                yield Line(number, Verdict(Outcome.UNREADABLE, str(error)))
            except ValueError:  # one that nobody foresaw, so its text might have a value
                yield Line(number, Verdict(Outcome.UNREADABLE, "a value cannot be read"))


def _batches(lines: IO[bytes], form: Form) -> Iterator[list[Line]]:
    each = read_lines(lines, form)
    while batch := list(islice(each, BATCH)):
        yield batch


async def _import(
    engine: AsyncEngine,
    batch: Sequence[Line],
    form: Form,
    *,
    actor: str,
    earlier: Earlier | None,
) -> list[Verdict]:
    """Import one batch; with ``earlier``, judge it only."""
    while True:
        with suppress(_Raced):  # the next look shows what the other session has committed
            async with engine.begin() as connection:
                verdicts = await _judge(connection, batch, earlier)
                if earlier is None:
                    await _write(connection, batch, verdicts, form, actor=actor)
            return verdicts


async def _judge(
    connection: AsyncConnection, batch: Sequence[Line], earlier: Earlier | None
) -> list[Verdict]:
    users = [line.user for line in batch if isinstance(line.user, NewUser)]
    present = await find_present(
        connection,
        ids=[user.id for user in users if user.id is not None],
        emails=[user.email for user in users],
        claim=earlier is None,
    )
    new = Earlier() if earlier is None else earlier
    verdicts = []
    for line in batch:
        if isinstance(line.user, Verdict):
            verdicts.append(line.user)
            continue
        verdict = judge(line.user, present, new)
        if verdict is NEW:
            new.add(line.user)
        verdicts.append(verdict)
    return verdicts


async def _write(
    connection: AsyncConnection,
    batch: Sequence[Line],
    verdicts: Sequence[Verdict],
    form: Form,
    *,
    actor: str,
) -> None:
    new = [
        line.user
        for line, verdict in zip(batch, verdicts, strict=True)
        if verdict is NEW and isinstance(line.user, NewUser)
    ]
    if not new:
        return
    added = await add_many(connection, new)
    if len(added) < len(new):
        raise _Raced
    await record_many(connection, UserCreated.type, [user.state() for user in added])
    await audit(
        connection,
        Action.USERS_IMPORTED,
        actor=actor,
        users=len(added),
        lines=f"{batch[0].number}-{batch[-1].number}",
        source=form.namespace,
    )
