"""Exchange a grant for an access token (RFC 6749 4.4 and 6).

Guarantees: each grant has limits of its own, so that a flood of one does not block another. An
ended session gets ``invalid_grant`` even beyond the limit, because its user must sign in again and
not wait.
"""

from auth_service.oauth.bodies import TokenBody
from auth_service.oauth.client import Client
from auth_service.oauth.errors import OAuthError, invalid_client
from auth_service.services.authenticate import WrongKey
from auth_service.services.grant import token_issue_time
from auth_service.services.model import ServiceAccount
from auth_service.sessions.refresh import refresh_within_limit
from auth_service.sessions.refresh_token import InvalidGrant
from auth_service.sessions.responses import wait_until_valid


async def client_credentials(client: Client) -> tuple[TokenBody, dict[str, str]]:
    """Issue a short-lived token to a service with a valid API key; return rate-limit headers, too.

    Raises:
        OAuthError: the credentials are wrong, or the service may not have the scope.
        TooManyRequests: its limit is spent.
    """
    service, headers = await client.service("client_credentials")
    scopes = _requested_scopes(client.form.get("scope"), service)
    try:
        at, valid_after = await token_issue_time(client.auth.engine, service.id, client.key_id)
    except WrongKey:
        raise invalid_client() from None
    await wait_until_valid(valid_after)
    signer = await client.auth.keys.signer()
    token = TokenBody(
        access_token=signer.for_service(service.id, scopes, at=max(at, valid_after or at)),
        expires_in=signer.service_seconds,
        scope=" ".join(sorted(scopes)),
    )
    return token, headers


async def refresh_token(client: Client) -> tuple[TokenBody, dict[str, str]]:
    """Exchange a session's refresh token for the next pair of tokens; return headers as well.

    Raises:
        OAuthError: the refresh token is invalid, or the request has other credentials or a scope.
        TooManyRequests: the network's limit is spent.
    """
    if client.credentials is not None:
        await client.service("refresh_as_service")
        raise OAuthError("unauthorized_client", "a service account has no refresh tokens")
    client.require_first_party()
    if "scope" in client.form:
        raise OAuthError("invalid_scope", "users have roles, not scopes; omit scope")
    sent = client.form.get("refresh_token")
    if sent is None:
        raise OAuthError("invalid_request", "refresh_token is missing")
    auth = client.auth
    try:
        refreshed, headers = await refresh_within_limit(auth, sent, network=client.network)
    except InvalidGrant:
        raise OAuthError("invalid_grant", "the session has ended; sign in again") from None
    await wait_until_valid(refreshed.user.tokens_valid_after)
    signer = await auth.keys.signer()
    token = TokenBody(
        access_token=signer.for_user(
            refreshed.user,
            refreshed.session_id,
            at=refreshed.at,
            authenticated_at=refreshed.authenticated_at,
        ),
        expires_in=signer.user_seconds,
        refresh_token=refreshed.refresh_token,
    )
    return token, headers


def _requested_scopes(scope: str | None, service: ServiceAccount) -> set[str]:
    """The scopes of the token: the requested ones, or all scopes of the account."""
    requested = set(service.scopes if scope is None else scope.split(" "))
    if not requested <= set(service.scopes):
        raise OAuthError("invalid_scope", "the service account does not have this scope")
    return requested
