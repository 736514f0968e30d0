"""The dependencies of a request: built once by ``app``, injected into routes as ``Blog``."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.settings import ApiSettings
from contracts.tokens import Verifier
from replica.source_client import Account
from service_kit.database.reader import Reader


@dataclass(frozen=True, slots=True)
class Context:
    """The API's settings, database and token verifier, and the client of the source if set up."""

    settings: ApiSettings
    engine: AsyncEngine
    reader: Reader
    verifier: Verifier
    source: Account | None


async def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


Blog = Annotated[Context, Depends(_context)]
