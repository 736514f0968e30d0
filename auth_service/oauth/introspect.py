"""Introspect a token (RFC 7662): for services that must know whether it was revoked.

Guarantees: everything that is not an active access token gets one and the same response.
"""

from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.context import Context
from auth_service.oauth.bodies import IntrospectionBody
from auth_service.services.queries import is_service_token_valid
from auth_service.sessions.queries import user_of_token
from contracts.tokens import AccessToken, InvalidToken

INACTIVE = IntrospectionBody(active=False)


async def introspect(auth: Context, token: str) -> IntrospectionBody:
    """Return the claims of an access token, if its user or service may still use it."""
    try:
        claims = await auth.keys.verify(token)
    except InvalidToken:
        return INACTIVE
    async with auth.reads.connect() as connection:
        is_live = (
            await is_service_token_valid(connection, claims)
            if claims.user_id is None
            else await _is_user_active(connection, claims)
        )
    if not is_live:
        return INACTIVE
    return IntrospectionBody(
        active=True,
        iss=claims.issuer,
        sub=claims.subject,
        client_id=claims.client_id,
        aud=claims.audience,
        exp=claims.expires_at,
        iat=claims.issued_at,
        jti=claims.jti,
        scope=" ".join(sorted(claims.scopes)) or None,
        token_type="Bearer",  # noqa: S106 - a type, no secret
        roles=None if claims.user_id is None else sorted(claims.roles),
        sid=None if claims.session_id is None else str(claims.session_id),
        auth_time=claims.authenticated_at,
    )


async def _is_user_active(connection: AsyncConnection, claims: AccessToken) -> bool:
    user = await user_of_token(connection, claims)
    return user is not None and user.status == "active"
