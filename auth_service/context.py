"""What a request works with: made once by ``app``, asked for by routes as ``Auth``."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.tokens.sign import TokenSigner
from auth_service.users.passwords import Passwords
from contracts.tokens import TokenVerifier


@dataclass(frozen=True, slots=True)
class Context:
    """The API's database, passwords and keys."""

    engine: AsyncEngine
    passwords: Passwords
    signer: TokenSigner
    verifier: TokenVerifier
    jwks: dict[str, Any]
    password_length_min: int


async def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


Auth = Annotated[Context, Depends(_context)]
