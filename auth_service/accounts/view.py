"""Find and view users on behalf of operators and administrators, and record who did.

Guarantees: each search by address and each look at one user is in the audit log, in the transaction
that read. The log has ids only: neither what was searched for nor what was shown.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.accounts.life import life
from auth_service.audit.model import Action
from auth_service.audit.record import audit
from auth_service.users.model import User
from auth_service.users.queries import find_by_email
from auth_service.users.search import Found, search


async def view(engine: AsyncEngine, id_or_email: str, *, actor: str) -> dict[str, Any]:
    """Read the life of a user (``life``, with its parameters and errors)."""
    async with engine.begin() as connection:
        found = await life(connection, id_or_email)
        await audit(connection, Action.USER_VIEWED, actor=actor, subject=found["id"])
    return found


async def find(engine: AsyncEngine, text: str, *, actor: str, by_address: bool) -> Sequence[Found]:
    """Search for users (``search``, with its parameters); by address it is audited."""
    async with engine.begin() as connection:
        found = await search(connection, text, by_address=by_address)
        if by_address:
            await _audit_search(connection, actor, found)
    return found


async def find_exactly(engine: AsyncEngine, email: str, *, actor: str) -> Sequence[User]:
    """The user with this address, if there is one, in any spelling; raises ``BadEmail``."""
    async with engine.begin() as connection:
        user = await find_by_email(connection, email)
        found = [] if user is None else [user]
        await _audit_search(connection, actor, found)
    return found


async def _audit_search(
    connection: AsyncConnection, actor: str, found: Sequence[Found] | Sequence[User]
) -> None:
    ids = [str(user.id) for user in found]
    await audit(connection, Action.USERS_SEARCHED, actor=actor, found=ids)
