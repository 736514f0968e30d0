"""Access tokens, valid and invalid, at one time, with the key set that verifies them.

Computed by ``contracts.tokens.verifier``; the reason is a help for people.
"""

import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any, Final

from contracts.conformance.messages import SOURCE, id_of
from contracts.conformance.signing_keys import key, public, signature
from contracts.encodings import base64url_text
from contracts.tokens import InvalidToken, TokenVerifier

AUDIENCE: Final = "blog"
NOW: Final = 1_767_268_800
"""2026-01-01T12:00:00Z, in seconds since 1970."""

_ADA: Final = str(id_of("ada"))
_OTHER: Final = {
    "kty": "EC",
    "crv": "P-256",
    "kid": "for-others",
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
}
"""The example of RFC 7517 A.1: a set may have keys for others, which are ignored."""

_USER: Final[dict[str, Any]] = {
    "iss": SOURCE,
    "aud": AUDIENCE,
    "sub": _ADA,
    "client_id": "first_party",
    "iat": NOW - 60,
    "exp": NOW + 840,
    "jti": str(id_of("token")),
    "sid": str(id_of("session")),
    "roles": ["moderator"],
    "user_version": 1767268800123456,
    "auth_time": NOW - 60,
}
_SERVICE: Final[dict[str, Any]] = {
    **{name: _USER[name] for name in ("iss", "aud", "iat", "exp", "jti")},
    "sub": "svc_importer",
    "client_id": "svc_importer",
    "scope": "posts:write",
}


def tokens() -> dict[str, Any]:
    """Issuer, audience, time, key set and tokens."""
    keys = {"keys": [_OTHER, public(key("published"))]}
    verifier = TokenVerifier.from_jwks(keys, issuer=SOURCE, audience=AUDIENCE)
    return {
        "issuer": SOURCE,
        "audience": AUDIENCE,
        "now": NOW,
        "keys": keys,
        "tokens": [
            {"name": name, "token": token} | _verdict(verifier, token) for name, token in _tokens()
        ],
    }


def _verdict(verifier: TokenVerifier, token: str) -> dict[str, Any]:
    try:
        return {"valid": True, "subject": verifier.verify(token, now=NOW).subject}
    except InvalidToken as error:
        return {"valid": False, "reason": error.reason}


def _tokens() -> Iterator[tuple[str, str]]:
    yield "a user's", _signed(_USER)
    yield "a service's", _signed(_SERVICE)
    yield "an unknown claim is ignored", _signed(_USER | {"locale": "de"})
    yield "the other form of typ", _signed(_USER, typ="application/at+jwt")
    for name, changes in _BAD_CLAIMS:
        yield name, _signed(_USER | changes)
    for claim in ("iss", "aud", "sub", "client_id", "iat", "exp", "jti"):
        yield f"no {claim}", _signed({k: v for k, v in _USER.items() if k != claim})
    yield "a service's with roles", _signed(_SERVICE | {"roles": ["admin"]})
    yield "a service's for another client", _signed(_SERVICE | {"client_id": "svc_other"})
    yield "an ID token", _signed(_USER, typ="JWT")
    yield "critical extensions", _signed(_USER, crit=["exp"])
    yield "a key in the header", _signed(_USER, by="stranger", jwk=public(key("stranger")))
    yield "an address of keys in the header", _signed(_USER, jku="https://attacker.example/keys")
    yield "signed by a stranger", _signed(_USER, by="stranger")
    yield "a key that the set lacks", _signed(_USER, by="stranger", kid="unknown")
    yield "a key for others", _signed(_USER, kid="for-others")
    yield "no kid", _signed(_USER, kid=None)
    yield "no algorithm", _segments(_header(alg="none"), _USER) + "."
    yield "the public key as a secret", _by_secret()
    good = _signed(_USER)
    yield "no signature", good.rpartition(".")[0] + "."
    yield "another payload", _exchanged(good)
    yield "padding", good + "=="
    yield "a blank", good + " "
    yield "four segments", good + ".e30"
    yield "empty", ""


_BAD_CLAIMS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("expired", {"iat": NOW - 960, "exp": NOW - 60}),
    ("issued in the future", {"iat": NOW + 60}),
    ("not valid yet", {"nbf": NOW + 60}),
    ("signed in in the future", {"auth_time": NOW + 60}),
    ("a lifetime of a day", {"exp": NOW + 86_400}),
    ("another issuer", {"iss": "https://attacker.example"}),
    ("another audience", {"aud": "shop"}),
    ("several audiences", {"aud": [AUDIENCE, "shop"]}),
    ("exp is text", {"exp": str(NOW + 840)}),
    ("exp is a fraction", {"exp": NOW + 840.5}),
    ("sub is no UUID", {"sub": "ada"}),
    ("sub in capitals", {"sub": _ADA.upper()}),
    ("a user's for a service", {"client_id": "svc_importer"}),
    ("roles is text", {"roles": "admin"}),
    ("bound to a key", {"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}),
)


def _header(**changes: Any) -> dict[str, Any]:
    header = {"alg": "RS256", "typ": "at+jwt", "kid": public(key("published"))["kid"]} | changes
    return {name: value for name, value in header.items() if value is not None}


def _signed(claims: dict[str, Any], *, by: str = "published", **header: Any) -> str:
    signed = _segments(_header(**header), claims)
    return f"{signed}.{base64url_text(signature(key(by), signed))}"


def _segments(header: dict[str, Any], claims: dict[str, Any]) -> str:
    return ".".join(base64url_text(json.dumps(each).encode()) for each in (header, claims))


def _by_secret() -> str:
    """A token for a verifier that takes the algorithm from the header, and the key for a secret."""
    signed = _segments(_header(alg="HS256"), _USER)
    secret = public(key("published"))["n"].encode()
    return f"{signed}.{base64url_text(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def _exchanged(token: str) -> str:
    """The token with other claims under the same signature."""
    header, _, signature_ = token.split(".")
    claims = base64url_text(json.dumps(_USER | {"roles": ["admin"]}).encode())
    return f"{header}.{claims}.{signature_}"
