"""Revoke a token (RFC 7009) by ending its session, which ends all tokens of the session here.

Other services accept an access token of the session until it expires. A user who wants them to
refuse it as well signs out everywhere.
"""

from auth_service.context import Context
from auth_service.oauth.errors import OAuthError
from auth_service.sessions.end import EndReason, end_sessions
from auth_service.sessions.refresh import end_session_of_token
from contracts.tokens import InvalidToken


async def revoke(auth: Context, token: str) -> None:
    """End the session of a refresh or access token; ignore any other text.

    Raises:
        OAuthError: the token is a service's, which has no session.
    """
    if await end_session_of_token(auth, token):
        return
    try:
        claims = await auth.keys.verify(token)
    except InvalidToken:
        return
    if claims.user_id is None:
        raise OAuthError(
            "unsupported_token_type", "a service's token has no session; revoke its API key"
        )
    if claims.session_id is None:
        return
    async with auth.engine.begin() as connection:
        await end_sessions(connection, claims.user_id, EndReason.REVOKED, only=claims.session_id)
