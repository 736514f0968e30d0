"""What a request works with: made once by ``app``, asked for by routes as ``Blog``."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.tokens import Verifier


@dataclass(frozen=True, slots=True)
class Context:
    """The API's database and the verifier of tokens."""

    engine: AsyncEngine
    verifier: Verifier


async def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


Blog = Annotated[Context, Depends(_context)]
