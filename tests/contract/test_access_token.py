"""The access token that every service verifies; its claim names are part of the contract."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

import contracts
from auth_service.tokens.sign import TokenSigner
from auth_service.users.model import User
from contracts.tokens import TokenVerifier
from contracts.tokens.keys import jwk, jwks

EXAMPLE = Path(contracts.__file__).parent / "tokens" / "examples" / "access_token.json"
REQUIRED = {"iss", "exp", "aud", "sub", "client_id", "iat", "jti"}
OPTIONAL = {"scope", "roles", "sid", "auth_time", "user_version"}


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Load the checked-in example and set the clock to the moment when it was issued."""
    example: dict[str, Any] = json.loads(EXAMPLE.read_text())
    monkeypatch.setattr(time, "time", lambda: float(example["claims"]["iat"]))
    return example


def token_like(example: dict[str, Any], key: RSAPrivateKey) -> str:
    """Sign a token for the example's user."""
    claims = example["claims"]
    signed_up = datetime.fromtimestamp(claims["iat"], UTC)
    ada = User(
        id=UUID(claims["sub"]),
        version=claims["user_version"],
        email="ada@example.org",
        email_verified=True,
        roles=tuple(claims["roles"]),
        status="active",
        tokens_valid_after=None,
        created_at=signed_up,
        updated_at=signed_up,
    )
    lifetime = claims["exp"] - claims["iat"]
    signer = TokenSigner(
        key,
        issuer=claims["iss"],
        audience=claims["aud"],
        user_seconds=lifetime,
        service_seconds=lifetime,
    )
    return signer.for_user(ada, UUID(claims["sid"]), at=signed_up, authenticated_at=signed_up)


def test_a_token_equals_the_example(example: dict[str, Any], signing_key: RSAPrivateKey) -> None:
    """Only the key and the token's own id differ. Claims: those of RFC 9068 and ours, no e-mail."""
    token = token_like(example, signing_key)
    header = jwt.get_unverified_header(token)
    claims = jwt.decode(token, options={"verify_signature": False})
    assert header["kid"] == jwk(signing_key.public_key())["kid"]
    assert header | {"kid": example["header"]["kid"]} == example["header"]
    assert claims | {"jti": example["claims"]["jti"]} == example["claims"]
    assert REQUIRED <= claims.keys() <= REQUIRED | OPTIONAL
    assert "ada@example.org" not in json.dumps(claims)


def test_the_example_is_accepted(example: dict[str, Any], signing_key: RSAPrivateKey) -> None:
    public = jwks(signing_key.public_key())
    claims = example["claims"]
    headers = example["header"] | {"kid": public["keys"][0]["kid"]}
    token = jwt.encode(claims, signing_key, algorithm="RS256", headers=headers)

    read = TokenVerifier.from_jwks(public, issuer=claims["iss"], audience=claims["aud"]).verify(
        token
    )

    assert str(read.user_id) == claims["sub"]
    assert read.user_version == claims["user_version"]
    assert str(read.session_id) == claims["sid"]
    assert read.authenticated_at == claims["auth_time"]
