"""What a request to a service with a replica works with: made once by the application.

The application keeps a ``Context``, or a subclass with more, in ``app.state.context``.
"""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.tokens import Verifier
from replica.caught_up import CaughtUp
from replica.settings import ApiSettings
from replica.source_client import Account
from replica.table import Replica
from service_kit.http.tails.hub import Tails


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The replica, the API's settings, its database, the verifier of tokens, and the source.

    ``caught_up`` lets requests wait for versions. ``tails`` are the live tails.
    ``source`` is None if the settings name none.
    """

    replica: Replica
    settings: ApiSettings
    engine: AsyncEngine
    caught_up: CaughtUp
    tails: Tails
    verifier: Verifier
    source: Account | None


async def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


RequestContext = Annotated[Context, Depends(_context)]
