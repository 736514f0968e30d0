"""Every response of the blog service matches its OpenAPI document."""

import asyncio
import time
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr

import auth_service.app
import auth_service.settings
from blog_service.app import create_app
from blog_service.settings import ApiSettings
from contracts.events import UserState
from service_kit.database.engines import pooled
from tests.support.auth_api import a_service_account
from tests.support.blog_api import a_token
from tests.support.builders import SOURCE, a_state, an_event
from tests.support.http_server import served
from tests.support.inbox import apply_events, execute
from tests.support.openapi import EXAMPLES, FEW, SECONDS_MAX, assert_conforms
from tests.support.parked_messages import park_deliveries, park_events, rubbish

WRITE_TEXTS = {
    "GET /v1/posts",
    *("PATCH /v1/me", "POST /v1/posts", "PUT /v1/posts/{post_id}", "PATCH /v1/posts/{post_id}"),
    *("POST /v1/posts/{post_id}/comments", "PATCH /v1/comments/{comment_id}", "POST /v1/preview"),
    *("GET /v1/sync/parked", "POST /v1/sync/parked/{parked_id}/discard"),
}
"""Operations that check text beyond the schema: it must have visible, harmless characters."""


@pytest.mark.timeout(SECONDS_MAX)
@pytest.mark.parametrize("examples", [FEW, pytest.param(EXAMPLES, marks=pytest.mark.slow)])
@pytest.mark.usefixtures("cheap_hashing")
def test_every_response_is_documented_and_none_is_a_500(
    examples: int,
    blog_url: str,
    auth_url: str,
    private_pem: str,
    public_pem: str,
    signing_key: rsa.RSAPrivateKey,
) -> None:
    """For every kind of caller, with requests that the document allows and others.

    The source runs too, because the blog forwards requests about replays to it.
    """
    settings = ApiSettings(
        _env_file=None,
        database_url=blog_url,
        public_key=public_pem,
        issuer=SOURCE,
        tail_seconds_max=0.01,  # a response that lasts says no more than one that ends
    )
    # This user has every role, so generated requests reach existing posts and comments.
    member = a_state(roles=("operator", "moderator", "admin"))
    asyncio.run(prepare(settings, member))
    later = int(time.time()) + 3_000  # no token expires during the test
    tokens = [
        a_token(signing_key, uuid4(), exp=later),
        a_token(signing_key, member.id, exp=later),
        a_token(signing_key, "svc_importer", scope="posts:write", exp=later),
        "rubbish",
    ]
    of_source = auth_service.settings.ApiSettings(
        _env_file=None, database_url=auth_url, private_key=private_pem, issuer=SOURCE
    )

    with served(auth_service.app.create_app(of_source)) as source:
        account = asyncio.run(made_account(of_source))
        account["auth_url"] = f"http://127.0.0.1:{source.port}"
        assert_conforms(
            create_app(settings.model_copy(update=account)),
            callers=[{}, *({"Authorization": f"Bearer {token}"} for token in tokens)],
            examples=examples,
            # Generated filters of a replay may contradict each other.
            may_refuse={"POST /v1/sync/replays", *WRITE_TEXTS},
        )


async def prepare(settings: ApiSettings, user: UserState) -> None:
    engine = pooled(settings)
    await apply_events(engine, user)
    await execute(
        engine,
        f"INSERT INTO posts (author_id, title, body) SELECT '{user.id}', 'Post ' || n, 'Body'"
        " FROM generate_series(1, 3) AS n",
        f"INSERT INTO comments (post_id, author_id, body) SELECT id, '{user.id}', 'x' FROM posts",
    )
    await park_deliveries(engine, *(rubbish(b"%d" % number) for number in range(3)))
    await park_events(engine, an_event(a_state()))
    await engine.dispose()


async def made_account(settings: auth_service.settings.ApiSettings) -> dict[str, object]:
    issued = await a_service_account(settings, "blog", "replays:write")
    return {"service_id": issued.id, "api_key": SecretStr(issued.api_key)}
