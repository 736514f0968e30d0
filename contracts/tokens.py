"""Access tokens: their claims and the verifier that every service uses.

RFC 9068 profile of JWT: ``typ`` is ``at+jwt``, the algorithm is the key's own, and all of ``iss exp
aud sub client_id iat jti`` are required and typed. A user's ``sub`` is his UUID; a service's is its
``client_id`` and starts with ``svc_``; anything between the two is refused (RFC 9700 4.15).

Guarantees: synchronous, no I/O; bounded in size and lifetime; every refusal is ``InvalidToken``
with the same message, so that an answer built from it tells an attacker nothing. The reason is an
attribute, for the log.

Not here: whether the user still exists and may act (each service asks its own table).
"""

import base64
import binascii
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self
from uuid import UUID

import jwt

from contracts.keys import RSA_BITS_MIN

ALGORITHM: Final = "RS256"
TOKEN_TYPE: Final = "at+jwt"  # noqa: S105 - a type, no secret
SERVICE_PREFIX: Final = "svc_"

LEEWAY_SECONDS: Final = 5
"""Clocks of two well-kept machines differ by less; more only prolongs stolen tokens."""

TOKEN_BYTES_MAX: Final = 8 * 1024
"""Ours have about 800; a megabyte would cost the parser 30 ms each."""

LIFETIME_SECONDS_MAX: Final = 3600
"""No signer of ours issues longer ones, so a longer one is not ours."""

TEXT_LENGTH_MAX: Final = 512
LIST_LENGTH_MAX: Final = 64
KEYS_MAX: Final = 32

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_SCOPE = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+( [\x21\x23-\x5B\x5D-\x7E]+)*", re.ASCII)


class InvalidToken(ValueError):
    """The token is not to be believed. ``reason`` is for the log, never for the answer."""

    def __init__(self, reason: str) -> None:
        super().__init__("the access token is invalid or has expired")
        self.reason = reason


class InvalidKeySet(ValueError):
    """A JWK Set that breaks the rules; the message names the rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A verified token's claims. Times are whole seconds since 1970."""

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

    @property
    def user_id(self) -> UUID | None:
        """The user's id, or None when the token is a service's."""
        return None if self.subject.startswith(SERVICE_PREFIX) else UUID(self.subject)


class TokenVerifier:
    """Verifies access tokens of one issuer for one audience with public keys alone."""

    def __init__(
        self,
        keys: Mapping[str, jwt.PyJWK],
        *,
        issuer: str,
        audience: str,
        leeway_seconds: int = LEEWAY_SECONDS,
    ) -> None:
        self._keys = dict(keys)
        self._issuer = issuer
        self._audience = audience
        self._leeway_seconds = leeway_seconds
        self._signatures = jwt.PyJWS(algorithms=[ALGORITHM])

    @classmethod
    def from_jwks(
        cls,
        jwks: dict[str, Any],
        *,
        issuer: str,
        audience: str,
        leeway_seconds: int = LEEWAY_SECONDS,
    ) -> Self:
        """A verifier for the keys of a JWK Set (RFC 7517).

        Raises:
            InvalidKeySet: unless each key is a public RS256 signing key with a ``kid`` of its own.
        """
        return cls(_keys(jwks), issuer=issuer, audience=audience, leeway_seconds=leeway_seconds)

    def verify(self, token: str) -> AccessToken:
        """The claims of ``token``; raises ``InvalidToken`` for anything less than a valid one."""
        if len(token) > TOKEN_BYTES_MAX or not _COMPACT.fullmatch(token):
            raise InvalidToken("not a compact JWS of bounded size")
        header = _json_object(_decoded(token.partition(".")[0]), "header")
        key = self._key_for(header)
        try:
            payload = self._signatures.decode(token, key, algorithms=[ALGORITHM])
        except jwt.PyJWTError as error:
            raise InvalidToken("the signature does not match") from error
        return self._accepted(_json_object(payload, "payload"))

    def _key_for(self, header: dict[str, Any]) -> jwt.PyJWK:
        if header.keys() != {"alg", "typ", "kid"}:
            raise InvalidToken("the header must hold alg, typ and kid, and nothing else")
        typ = header["typ"]
        if not isinstance(typ, str) or typ.lower().removeprefix("application/") != TOKEN_TYPE:
            raise InvalidToken("typ is not at+jwt")
        if header["alg"] != ALGORITHM:
            raise InvalidToken("alg is not RS256")
        kid = header["kid"]
        if not isinstance(kid, str) or kid not in self._keys:
            raise InvalidToken("no key has this kid")
        return self._keys[kid]

    def _accepted(self, claims: dict[str, Any]) -> AccessToken:
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
        )
        now = time.time()
        if token.issuer != self._issuer:
            raise InvalidToken("another issuer")
        if token.audience != self._audience:
            raise InvalidToken("another audience")
        if now >= token.expires_at + self._leeway_seconds:
            raise InvalidToken("expired")
        if token.issued_at > now + self._leeway_seconds:
            raise InvalidToken("issued in the future")
        if "nbf" in claims and _integer(claims, "nbf") > now + self._leeway_seconds:
            raise InvalidToken("not valid yet")
        if not 0 < token.expires_at - token.issued_at <= LIFETIME_SECONDS_MAX:
            raise InvalidToken("a lifetime that this issuer does not give")
        _demand_one_principal(token)
        return token


def _demand_one_principal(token: AccessToken) -> None:
    """Users are UUIDs, services ``svc_…`` equal to their client id; nothing is both."""
    if token.subject.startswith(SERVICE_PREFIX):
        if token.client_id != token.subject:
            raise InvalidToken("a service's sub is not its client_id")
        return
    try:
        canonical = str(UUID(token.subject))
    except ValueError as error:
        raise InvalidToken("sub is neither a user nor a service") from error
    if canonical != token.subject or token.client_id.startswith(SERVICE_PREFIX):
        raise InvalidToken("sub and client_id mix a user and a service")


def _keys(jwks: dict[str, Any]) -> dict[str, jwt.PyJWK]:
    members = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(members, list) or not 0 < len(members) <= KEYS_MAX:
        raise InvalidKeySet(f"a key set holds from 1 to {KEYS_MAX} keys")
    keys: dict[str, jwt.PyJWK] = {}
    for member in members:
        kid, key = _key(member)
        if kid in keys:
            raise InvalidKeySet("two keys have the same kid")
        keys[kid] = key
    return keys


def _key(member: object) -> tuple[str, jwt.PyJWK]:
    if not isinstance(member, dict):
        raise InvalidKeySet("a key is no object")
    if member.get("kty") != "RSA":
        raise InvalidKeySet("a key is not RSA")
    if any(private in member for private in ("d", "p", "q", "dp", "dq", "qi", "oth", "k")):
        raise InvalidKeySet("a key holds private members")
    operations = member.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise InvalidKeySet("a key is not for verifying signatures")
    if member.get("use", "sig") != "sig":
        raise InvalidKeySet("a key is not for verifying signatures")
    if member.get("alg", ALGORITHM) != ALGORITHM:
        raise InvalidKeySet("a key is not for RS256")
    kid = member.get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= 128:
        raise InvalidKeySet("a key has no usable kid")
    try:
        key = jwt.PyJWK(member, algorithm=ALGORITHM)
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise InvalidKeySet("a key's numbers cannot be read") from error
    if key.key.key_size < RSA_BITS_MIN:
        raise InvalidKeySet(f"a key has fewer than {RSA_BITS_MIN} bits")
    return kid, key


def _decoded(segment: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except (binascii.Error, ValueError) as error:
        raise InvalidToken("a segment is no base64url") from error


def _json_object(encoded: bytes, what: str) -> dict[str, Any]:
    """Strict JSON: UTF-8 alone, no name twice (the last would win), nothing but an object."""
    try:
        value = json.loads(
            encoded.decode("utf-8"),
            object_pairs_hook=_without_duplicates,
            parse_constant=_no_constant,
        )
    except (ValueError, RecursionError) as error:
        raise InvalidToken(f"the {what} is no strict JSON") from error
    if not isinstance(value, dict):
        raise InvalidToken(f"the {what} is no object")
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name stands twice")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _text(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= TEXT_LENGTH_MAX:
        raise InvalidToken(f"{name} is missing or no text")
    return value


def _integer(claims: dict[str, Any], name: str) -> int:
    value = claims.get(name)
    if type(value) is not int or not 0 <= value < 2**53:
        raise InvalidToken(f"{name} is missing or no whole number")
    return value


def _scopes(claims: dict[str, Any]) -> frozenset[str]:
    if "scope" not in claims:
        return frozenset()
    scope = _text(claims, "scope")
    if not _SCOPE.fullmatch(scope):
        raise InvalidToken("scope is no list of RFC 6749 scopes")
    return frozenset(scope.split(" "))


def _roles(claims: dict[str, Any]) -> frozenset[str]:
    roles = claims.get("roles", [])
    if not isinstance(roles, list) or len(roles) > LIST_LENGTH_MAX:
        raise InvalidToken("roles is no list")
    if not all(isinstance(role, str) and 0 < len(role) <= TEXT_LENGTH_MAX for role in roles):
        raise InvalidToken("a role is no text")
    return frozenset(roles)
