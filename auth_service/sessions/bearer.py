"""The user behind a request's access token (RFC 6750), checked against his row as it is now."""

from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import select

from auth_service.context import Auth
from auth_service.users.model import User
from auth_service.users.table import to_user, users
from contracts import problems
from contracts.bearer import invalid_token, users_token
from contracts.problems import Problem


async def current_user(request: Request, auth: Auth) -> User:
    """The living, active user whose token came with the request.

    Raises:
        Problem: 401 without a valid token of a user who still exists, 403 when he is disabled or
            the token is a service's.
    """
    user_id, token = users_token(request.headers, auth.verifier)
    async with auth.engine.connect() as connection:
        query = select(users).where(users.c.id == user_id)
        row = (await connection.execute(query)).one_or_none()
    if row is None or row.status == "deleted":
        raise invalid_token()
    if row.tokens_valid_after and token.issued_at < row.tokens_valid_after.timestamp():
        raise invalid_token()
    if row.status == "disabled":
        raise Problem(problems.ACCOUNT_DISABLED)
    return to_user(row)


CurrentUser = Annotated[User, Depends(current_user)]
