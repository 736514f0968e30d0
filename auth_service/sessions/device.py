"""The session that a request may start, named for the device that it comes from."""

from typing import Annotated

from fastapi import Depends, Header

from auth_service.sessions.model import NewSession


async def _session(
    user_agent: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> NewSession:
    return NewSession.on(user_agent)


SessionHere = Annotated[NewSession, Depends(_session)]
"""A route's parameter of this type is a new session; nothing is stored of it yet."""
