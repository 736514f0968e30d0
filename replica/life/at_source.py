"""Ask the source what it has of one user, as a comparison does: by their bucket.

Guarantees: it takes a bounded time. Nothing of another user of the bucket is kept or returned.
"""

import asyncio
from typing import Final
from uuid import UUID

from pydantic import BaseModel, ValidationError

from contracts.events import UserState, UserTombstone
from contracts.sync.digest import bucket_of
from replica.life.model import AtSource
from replica.reconcile.compare import require_followed
from replica.reconcile.model import CouldNotCompare
from replica.reconcile.source import Source
from replica.settings import SourceSettings
from replica.source_client import Account, NotSetUp
from replica.table import Replica

SECONDS_MAX: Final = 10.0
"""An operator waits for the response. A bucket of ten million users has 2,441,
which take a fraction of a second."""


class _Line(BaseModel):
    """What tells the lines of a stream apart."""

    id: UUID
    deleted_at: str | None = None
    unpublished: bool = False


async def at_source(
    replica: Replica,
    settings: SourceSettings,
    account: Account | None,
    user_id: UUID,
    *,
    follows: UUID | None,
) -> AtSource:
    """What the source has of the user.

    Parameters:
        account: with which to ask; None if the settings name no source.
        follows: the source that this replica was compared with before; None before the first time.

    Raises:
        CouldNotCompare: the settings name no source, or it is away, refuses, is another one, or
            responds in another way than agreed.
    """
    if account is None:
        raise CouldNotCompare(str(NotSetUp(settings)))
    bucket = bucket_of(user_id)
    found = AtSource(state=None)
    try:
        async with asyncio.timeout(SECONDS_MAX), account.turns, Source(account) as source:
            async with source.users([range(bucket, bucket + 1)]) as stream:
                async for lines in stream.blocks():
                    for line in lines:
                        # Most lines are not parsed. Some address may have the id in it.
                        if str(user_id).encode() in line:
                            found = _read(line, user_id) or found
            assert stream.begin is not None  # otherwise it had no end either
    except TimeoutError:
        raise CouldNotCompare(
            f"the source has not responded within {SECONDS_MAX:.0f} s; try again"
        ) from None
    setting = settings.variable("auth_url")
    require_followed(replica.command, setting, stream.begin.source, follows)
    return found


def _read(line: bytes, user_id: UUID) -> AtSource | None:
    """What a line says of the user; None if it is about another one."""
    try:
        begin = _Line.model_validate_json(line)
        if begin.id != user_id:
            return None
        model = UserState if begin.deleted_at is None else UserTombstone
        return AtSource(state=model.model_validate_json(line), is_unpublished=begin.unpublished)
    except ValidationError:
        # The error quotes the line.
        raise CouldNotCompare("the source's response is not as agreed") from None
