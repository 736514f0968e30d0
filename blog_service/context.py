"""What a request works with: made once by ``app``, asked for by routes as ``Blog``."""

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
    """The API's settings, its database, the verifier of tokens, and the source, if it is set up."""

    settings: ApiSettings
    engine: AsyncEngine
    reader: Reader
    verifier: Verifier
    source: Account | None


async def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


Blog = Annotated[Context, Depends(_context)]
