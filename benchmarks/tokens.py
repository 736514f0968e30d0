"""Measure the cost of a token: to issue, to verify, and on a request that needs one."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from auth_service.tokens.sign import TokenSigner
from auth_service.users.model import User
from benchmarks import contestants
from benchmarks.figures import Figures, Promise, Section, medians
from benchmarks.http import Connection
from benchmarks.peers.unverified_blog import USER_ID
from benchmarks.scale import Scale
from benchmarks.stage import ISSUER, Stage
from contracts.tokens import TokenVerifier
from contracts.tokens.keys import ALGORITHM, jwk, jwks, private_key
from local.keys import PRIVATE_KEY, ensure_keys
from local.ports import free_port

_HOW = """
Issuing and verifying: one thread, RSA-3072, both sides in turns of {calls} calls, the median turn
of each. The bare signature covers as many bytes as the token's. PyJWT decodes with a parsed key,
and checks issuer, audience and expiry. The protected request: `blog-service api` responds to
`GET /v1/me` over {clients} kept-alive connections. The other side is the same application, which
reads the caller from the replica without verifying the token.
"""

_CALLS = 50
_TURNS = 20
_CLIENTS = 16
_AUDIENCE = "blog"
_FIGURE = "protected_to_unprotected_ratio"


async def measure(stage: Stage, scale: Scale) -> Section:
    """Let each side and its peer take turns."""
    return Section(
        title="Tokens",
        how=_HOW.format(calls=_CALLS, clients=_CLIENTS),
        figures=medians([await _round(stage, scale) for _ in range(scale.rounds)]),
        promises=[
            Promise(
                words="issuing a token ÷ the bare RSA signature (time)",
                figure="issue_to_signature_ratio",
                at_most=1.3,
            ),
            Promise(
                words="verifying a token ÷ PyJWT's decode (time)",
                figure="verify_to_pyjwt_ratio",
                at_most=2,
            ),
            Promise(
                words="requests with a token ÷ the same without verification (rate)",
                figure=_FIGURE,
                at_least=0.6,
            ),
        ],
    )


async def _round(stage: Stage, scale: Scale) -> Figures:
    await stage.empty()
    await stage.run(
        stage.blog_url,
        f"INSERT INTO users (id, version, status) VALUES ('{USER_ID}', 0, 'provisional')",  # noqa: S608 - a constant of ours
    )
    ensure_keys()
    key = private_key(str(PRIVATE_KEY))
    user = _user()
    signer = TokenSigner(
        key, issuer=ISSUER, audience=_AUDIENCE, user_seconds=900, service_seconds=600
    )
    now = datetime.now(UTC)
    token = signer.for_user(user, uuid4(), at=now, authenticated_at=now)
    signed = token.rpartition(".")[0].encode()
    public = jwt.PyJWK(jwk(key.public_key()), algorithm=ALGORITHM)
    verifier = TokenVerifier.from_jwks(jwks(key.public_key()), issuer=ISSUER, audience=_AUDIENCE)
    signature, issue = _microseconds(
        lambda: key.sign(signed, padding.PKCS1v15(), hashes.SHA256()),
        lambda: signer.for_user(user, uuid4(), at=now, authenticated_at=now),
    )
    decode, verify = _microseconds(
        lambda: jwt.decode(
            token, public, algorithms=[ALGORITHM], audience=_AUDIENCE, issuer=ISSUER
        ),
        lambda: verifier.verify(token),
    )
    unprotected = await _per_second(stage, token, scale.request_seconds, is_protected=False)
    protected = await _per_second(stage, token, scale.request_seconds, is_protected=True)
    return {
        "rsa_signature_us": signature,
        "issue_us": issue,
        "issue_to_signature_ratio": issue / signature,
        "pyjwt_decode_us": decode,
        "verify_us": verify,
        "verify_to_pyjwt_ratio": verify / decode,
        "unprotected_requests_per_second": unprotected,
        "protected_requests_per_second": protected,
        _FIGURE: protected / unprotected,
    }


def _microseconds(*sides: Callable[[], object]) -> list[float]:
    """Return the median time of one call of each side; they take turns on the same machine."""
    turns: list[list[float]] = [[] for _ in sides]
    for _ in range(_TURNS):
        for side, times in zip(sides, turns, strict=True):
            started = time.perf_counter()
            for _ in range(_CALLS):
                side()
            times.append(1e6 * (time.perf_counter() - started) / _CALLS)
    return [median(times) for times in turns]


async def _per_second(stage: Stage, token: str, seconds: float, *, is_protected: bool) -> float:
    port = free_port()
    serving = contestants.blog_api if is_protected else contestants.unverified_blog_api
    answered = 0
    async with serving(stage, port):
        started = time.perf_counter()

        async def client() -> None:
            nonlocal answered
            async with Connection(port, authorization=f"Bearer {token}") as connection:
                while time.perf_counter() < started + seconds:
                    await connection.get("/v1/me", 200)
                    answered += 1

        await asyncio.gather(*(client() for _ in range(_CLIENTS)))
        return answered / (time.perf_counter() - started)


def _user() -> User:
    now = datetime.now(UTC)
    return User(
        id=USER_ID,
        version=1,
        email="ada@example.org",
        email_verified=True,
        roles=(),
        status="active",
        tokens_valid_after=None,
        created_at=now,
        updated_at=now,
    )
