"""Access tokens: their claims and the verifier that every service uses.

RFC 9068 profile of JWT: ``typ`` is ``at+jwt``, the algorithm is the key's own, and all of ``iss exp
aud sub client_id iat jti`` are required and typed. A user's ``sub`` is their UUID; a service's is
its ``client_id`` and starts with ``svc_``. A token that matches neither is refused (RFC 9700 4.15).

Guarantees: synchronous and without I/O; size and lifetime are limited. Only one encoding of a token
is accepted, so no character of it can be changed. Every refusal is ``InvalidToken`` with the same
message, so a response built from it tells an attacker nothing; the reason is an attribute, for the
log.

Not here: where the keys come from (``jwks_cache``), and whether the user still exists and may act
(each service checks its own table).
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self, TypeGuard
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from contracts.encodings import base64url_bytes, json_object
from contracts.tokens.key_set import InvalidKeySet as InvalidKeySet  # what ``from_jwks`` raises
from contracts.tokens.key_set import is_kid, read_key_set
from contracts.tokens.keys import ALGORITHM

TOKEN_TYPE: Final = "at+jwt"  # noqa: S105 - a type, no secret
SERVICE_PREFIX: Final = "svc_"

LEEWAY_SECONDS: Final = 5
"""Synchronized clocks differ by less; more only prolongs the life of stolen tokens."""

TOKEN_BYTES_MAX: Final = 8 * 1024
"""Our tokens have about 800 bytes; parsing a megabyte would take 30 ms."""

LIFETIME_SECONDS_MAX: Final = 3600
"""Our signers issue no longer ones, so a longer lifetime is refused."""

TEXT_LENGTH_MAX: Final = 512
LIST_LENGTH_MAX: Final = 64

_HEADER: Final = {"alg", "typ", "kid"}
_TYPES: Final = (TOKEN_TYPE, f"application/{TOKEN_TYPE}")
_SERVICE = re.compile(rf"{SERVICE_PREFIX}[A-Za-z0-9._-]+", re.ASCII)
_SCOPE = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+( [\x21\x23-\x5B\x5D-\x7E]+)*", re.ASCII)
_PADDING: Final = PKCS1v15()
_HASH: Final = SHA256()


class InvalidToken(ValueError):
    """The token is not accepted. ``reason`` is for the log, never for the response."""

    def __init__(self, reason: str) -> None:
        super().__init__("the access token is invalid or has expired")
        self.reason = reason


class UnknownKey(InvalidToken):
    """No known key has the token's ``kid``; a newer key set might."""

    def __init__(self, kid: str) -> None:
        super().__init__("no key has this kid")
        self.kid = kid


class KeysUnavailable(Exception):
    """There are no keys to verify with at the moment, so nothing is known about the token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A verified token's claims. Times are whole seconds since 1970.

    ``key_id`` is the ``kid`` of the key that signed it; ``session_id`` the claim ``sid``;
    ``authenticated_at`` the claim ``auth_time``, when the user last gave their password.
    """

    issuer: str
    audience: str
    subject: str
    client_id: str
    issued_at: int
    expires_at: int
    jti: str
    scopes: frozenset[str]
    roles: frozenset[str]
    user_version: int | None
    session_id: UUID | None
    authenticated_at: int | None
    key_id: str

    @property
    def user_id(self) -> UUID | None:
        """The user's id; None for a service's token."""
        return None if self.subject.startswith(SERVICE_PREFIX) else UUID(self.subject)


class Verifier(Protocol):
    """Verifies the tokens of requests, with fixed keys or with keys that change."""

    async def verify(self, token: str) -> AccessToken:
        """Verify ``token`` and return its claims.

        Raises:
            InvalidToken: the token is not valid.
            KeysUnavailable: there are no keys to verify with.
        """


class TokenVerifier:
    """Verifies access tokens of one issuer for one audience with public keys alone."""

    def __init__(
        self,
        keys: Mapping[str, RSAPublicKey],
        *,
        issuer: str,
        audience: str,
        leeway_seconds: int = LEEWAY_SECONDS,
    ) -> None:
        self._keys = dict(keys)
        self._issuer = issuer
        self._audience = audience
        self._leeway_seconds = leeway_seconds

    @classmethod
    def from_jwks(
        cls,
        jwks: dict[str, Any],
        *,
        issuer: str,
        audience: str,
        leeway_seconds: int = LEEWAY_SECONDS,
    ) -> Self:
        """Make a verifier from a JWK Set (RFC 7517).

        Raises:
            InvalidKeySet: no key of the set verifies RS256 signatures, or the set is unsound.
        """
        return cls(
            read_key_set(jwks), issuer=issuer, audience=audience, leeway_seconds=leeway_seconds
        )

    def has_key(self, kid: str) -> bool:
        """Whether the verifier has this key."""
        return kid in self._keys

    def verify(self, token: str, *, now: float | None = None) -> AccessToken:
        """Verify ``token`` and return its claims; raises ``InvalidToken``.

        Parameters:
            now: in seconds since 1970; by default the clock's.
        """
        if not isinstance(token, str) or len(token) > TOKEN_BYTES_MAX or not token.isascii():
            raise InvalidToken("not ASCII text of bounded size")
        signed, _, signature = token.rpartition(".")
        header, _, payload = signed.partition(".")
        kid = _kid(_object(header, "header"))
        key = self._keys.get(kid)
        if key is None:
            raise UnknownKey(kid)
        try:
            key.verify(_bytes(signature, "signature"), signed.encode(), _PADDING, _HASH)
        except InvalidSignature:
            raise InvalidToken("the signature does not match") from None
        at = time.time() if now is None else now
        return self._accepted(_object(payload, "payload"), kid, at)

    def _accepted(self, claims: dict[str, Any], kid: str, now: float) -> AccessToken:
        token = AccessToken(
            issuer=_text(claims, "iss"),
            audience=_text(claims, "aud"),
            subject=_text(claims, "sub"),
            client_id=_text(claims, "client_id"),
            issued_at=_integer(claims, "iat"),
            expires_at=_integer(claims, "exp"),
            jti=_text(claims, "jti"),
            scopes=_scopes(claims),
            roles=_roles(claims),
            user_version=_integer(claims, "user_version") if "user_version" in claims else None,
            session_id=_uuid(_text(claims, "sid"), "sid") if "sid" in claims else None,
            authenticated_at=_integer(claims, "auth_time") if "auth_time" in claims else None,
            key_id=kid,
        )
        if token.issuer != self._issuer:
            raise InvalidToken("another issuer")
        if token.audience != self._audience:
            raise InvalidToken("another audience")
        self._require_time(token, claims, now)
        _require_one_principal(token)
        if "cnf" in claims:
            # RFC 7800: the sender must prove possession of a key, which nothing here checks.
            raise InvalidToken("bound to a key of the sender")
        return token

    def _require_time(self, token: AccessToken, claims: dict[str, Any], now: float) -> None:
        latest = now + self._leeway_seconds
        if now >= token.expires_at + self._leeway_seconds:
            raise InvalidToken("expired")
        if token.issued_at > latest:
            raise InvalidToken("issued in the future")
        if "nbf" in claims and _integer(claims, "nbf") > latest:
            raise InvalidToken("not valid yet")
        if token.authenticated_at is not None and token.authenticated_at > latest:
            raise InvalidToken("signed in in the future")
        if not 0 < token.expires_at - token.issued_at <= LIFETIME_SECONDS_MAX:
            raise InvalidToken("a lifetime that this issuer does not give")


class FixedKeys:
    """A ``Verifier`` with the keys that a process got at its start."""

    def __init__(self, verifier: TokenVerifier) -> None:
        self._verifier = verifier

    async def verify(self, token: str) -> AccessToken:
        """Verify ``token`` and return its claims; raises ``InvalidToken``."""
        return self._verifier.verify(token)

    async def ready(self) -> None:
        """Do nothing: the keys are always there."""

    async def close(self) -> None:
        """Do nothing: nothing is open."""


def _require_one_principal(token: AccessToken) -> None:
    """Refuse a mixture: users are UUIDs, services are ``svc_…`` and equal to their client id."""
    if token.subject.startswith(SERVICE_PREFIX):
        if not _SERVICE.fullmatch(token.subject) or token.client_id != token.subject:
            raise InvalidToken("a service's sub is not its client_id")
        if token.roles or token.session_id is not None or token.user_version is not None:
            raise InvalidToken("a service with claims of users")
        return
    _uuid(token.subject, "sub")
    if token.client_id.startswith(SERVICE_PREFIX):
        raise InvalidToken("sub and client_id mix a user and a service")


def _kid(header: dict[str, Any]) -> str:
    """Check the header, and return the ``kid`` that it names."""
    if header.keys() != _HEADER:
        raise InvalidToken("the header must hold alg, typ and kid, and nothing else")
    typ, kid = header["typ"], header["kid"]
    if not isinstance(typ, str) or typ.lower() not in _TYPES:
        raise InvalidToken("typ is not at+jwt")
    if header["alg"] != ALGORITHM:
        raise InvalidToken(f"alg is not {ALGORITHM}")
    if not is_kid(kid):
        raise InvalidToken("kid cannot name a key")
    return kid


def _bytes(segment: str, what: str) -> bytes:
    try:
        return base64url_bytes(segment)
    except ValueError:
        raise InvalidToken(f"the {what} is not base64url") from None


def _object(segment: str, what: str) -> dict[str, Any]:
    encoded = _bytes(segment, what)
    try:
        return json_object(encoded)
    except ValueError:
        raise InvalidToken(f"the {what} is not a strict JSON object") from None


def _text(claims: dict[str, Any], name: str) -> str:
    """Read a text that can be logged and stored: no control characters, no half characters."""
    value = claims.get(name)
    if not _is_text(value):
        raise InvalidToken(f"{name} is missing or not text")
    return value


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= TEXT_LENGTH_MAX and value.isprintable()


def _integer(claims: dict[str, Any], name: str) -> int:
    value = claims.get(name)
    if type(value) is not int or not 0 <= value < 2**53:
        raise InvalidToken(f"{name} is missing or not a whole number")
    return value


def _uuid(text: str, name: str) -> UUID:
    """Read a UUID in its canonical spelling (RFC 9562 4)."""
    try:
        value = UUID(text)
    except ValueError:
        raise InvalidToken(f"{name} is not a UUID") from None
    if str(value) != text:
        raise InvalidToken(f"{name} is not the usual spelling of a UUID")
    return value


def _scopes(claims: dict[str, Any]) -> frozenset[str]:
    if "scope" not in claims:
        return frozenset()
    scope = _text(claims, "scope")
    if not _SCOPE.fullmatch(scope):
        raise InvalidToken("scope is not a list of RFC 6749 scopes")
    return frozenset(scope.split(" "))


def _roles(claims: dict[str, Any]) -> frozenset[str]:
    roles = claims.get("roles", [])
    if not isinstance(roles, list) or len(roles) > LIST_LENGTH_MAX:
        raise InvalidToken("roles is not a list")
    if not all(_is_text(role) for role in roles):
        raise InvalidToken("a role is not text")
    return frozenset(roles)
