"""Sign up people to be harmed, as any front-end does."""

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import UUID, uuid4

import httpx
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from local.errors import LocalError
from local.traffic import ADDRESSES, PASSWORD

_ARRIVE_SECONDS_MAX: Final = 15.0
"""Usually milliseconds; a consumer that is starting needs some seconds."""
_LOOK_EVERY_SECONDS: Final = 0.1
_TIMEOUT_SECONDS: Final = 30.0  # a busy machine hashes a password in seconds

_ARRIVED: Final = text("SELECT count(*) FROM users WHERE id = :id AND status = 'active'")


async def sign_up(auth_url: str, count: int) -> Sequence[UUID]:
    """Sign up so many people, one after the other; return their ids.

    Raises:
        LocalError: the auth service does not respond, or refuses.
    """
    async with httpx.AsyncClient(
        base_url=auth_url, trust_env=False, timeout=_TIMEOUT_SECONDS
    ) as auth:
        return [await _sign_up(auth) for _ in range(count)]


async def _sign_up(auth: httpx.AsyncClient) -> UUID:
    body = {"email": ADDRESSES.replace("%", uuid4().hex[:12]), "password": PASSWORD}
    try:
        response = await auth.post("/v1/signup", json=body)
        response.raise_for_status()
    except httpx.HTTPError as error:
        raise LocalError(f"Nobody can sign up to be harmed ({error}); see make status.") from error
    return UUID(response.json()["user"]["id"])


async def arrived(blog: AsyncConnection, user_id: UUID) -> None:
    """Wait until the replica has a user.

    Raises:
        LocalError: they do not arrive in time.
    """
    deadline = asyncio.get_running_loop().time() + _ARRIVE_SECONDS_MAX
    while not await blog.scalar(_ARRIVED, {"id": user_id}):
        if asyncio.get_running_loop().time() > deadline:
            raise LocalError(
                "The person to be harmed does not arrive in the blog; see make status."
            )
        await asyncio.sleep(_LOOK_EVERY_SECONDS)
