"""Verify an address and reset a password with links from mails, over HTTP."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from auth_service.app import create_app
from auth_service.settings import ApiSettings
from service_kit.process.rates import Rate
from tests.support.auth_api import PASSWORD, assert_problem, bearer, serving, signed_up
from tests.support.eventually import eventually
from tests.support.inbox import execute, fetch
from tests.support.mail_server import MailServer, Received, mail_server

ADA = "ada@example.org"
NEW = "another battery for the horse"
MAYBE_TOKENS = ["", "x", "A" * 43, "A" * 128, "' OR true --", "ü" * 43]


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with mail_server() as server:
        yield server


@pytest.fixture
def mail_settings(api_settings: ApiSettings, server: MailServer) -> ApiSettings:
    return api_settings.model_copy(update={"smtp_url": SecretStr(server.url)})


@pytest.fixture
async def post(mail_settings: ApiSettings) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(mail_settings) as client:
        yield client


async def next_mail(server: MailServer, subject: str) -> Received:
    """Wait for the first mail about ``subject`` and remove it."""

    def look() -> Received | None:
        return next((mail for mail in server.received if subject in mail.message["Subject"]), None)

    found = await eventually(look)
    assert found is not None
    server.received.remove(found)
    return found


async def verification(server: MailServer) -> str:
    """The token of the next mail that verifies an address."""
    return (await next_mail(server, "confirm")).token


async def reset_token(client: httpx.AsyncClient, server: MailServer, email: str = ADA) -> str:
    answer = await client.post("/v1/password/forgot", json={"email": email})
    assert answer.status_code == 202
    return (await next_mail(server, "new password")).token


async def verify(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.post("/v1/email/verify", json={"token": token})


async def reset(client: httpx.AsyncClient, token: str, password: str = NEW) -> httpx.Response:
    return await client.post("/v1/password/reset", json={"token": token, "new_password": password})


async def sign_in(client: httpx.AsyncClient, password: str) -> httpx.Response:
    return await client.post("/v1/signin", json={"email": ADA, "password": password})


async def me(client: httpx.AsyncClient, signed_in: dict[str, Any]) -> dict[str, Any]:
    answer = await client.get("/v1/me", headers=bearer(signed_in))
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body


async def events(engine: AsyncEngine, user_id: str) -> list[dict[str, Any]]:
    rows = await fetch(
        engine,
        "SELECT payload FROM outbox_events WHERE user_id = :user ORDER BY position",
        user=UUID(user_id),
    )
    return [row.payload for row in rows]


async def actions(engine: AsyncEngine) -> list[tuple[str, str, str]]:
    rows = await fetch(engine, "SELECT action, actor, subject FROM audit_log ORDER BY id")
    return [(row.action, row.actor, row.subject) for row in rows]


async def test_sign_up_brings_a_link_that_verifies_the_address(
    post: httpx.AsyncClient, server: MailServer, auth_engine: AsyncEngine
) -> None:
    ada = await signed_up(post, ADA)
    assert not ada["user"]["email_verified"]

    answer = await verify(post, await verification(server))

    assert (answer.status_code, answer.content) == (204, b"")
    after = await me(post, ada)
    assert after["email_verified"]
    assert after["version"] > ada["user"]["version"]
    *_, last = await events(auth_engine, after["id"])
    assert (last["version"], last["email_verified"]) == (after["version"], True)
    assert ("email_verified", "anonymous", after["id"]) in await actions(auth_engine)


async def test_verified_address_is_verified_once(
    post: httpx.AsyncClient, server: MailServer
) -> None:
    ada = await signed_up(post, ADA)
    again = await post.post("/v1/me/email/verification", headers=bearer(ada))
    assert again.status_code == 202
    tokens = [await verification(server), await verification(server)]

    first = await verify(post, tokens[0])
    version = (await me(post, ada))["version"]
    second = await verify(post, tokens[1])

    assert (first.status_code, second.status_code) == (204, 204)
    assert (await me(post, ada))["version"] == version
    assert_problem(await verify(post, tokens[0]), 422, "invalid_link")


async def test_verified_user_gets_no_further_mail(
    post: httpx.AsyncClient, server: MailServer, auth_engine: AsyncEngine
) -> None:
    ada = await signed_up(post, ADA)
    await verify(post, await verification(server))
    answer = await post.post("/v1/me/email/verification", headers=bearer(ada))
    assert answer.status_code == 202
    await eventually(lambda: is_empty(auth_engine))
    assert not server.received


async def is_empty(engine: AsyncEngine) -> bool:
    return not await fetch(engine, "SELECT 1 FROM mails")


async def test_a_reset_ends_everything_that_the_old_password_started(
    post: httpx.AsyncClient, server: MailServer, auth_engine: AsyncEngine
) -> None:
    """The old password, tokens and other links stop working; the user gets a notice."""
    ada = await signed_up(post, ADA)
    other = await reset_token(post, server)
    token = await reset_token(post, server)
    began = time.time()

    answer = await reset(post, token)

    assert (answer.status_code, answer.content) == (204, b"")
    assert (await sign_in(post, PASSWORD)).status_code == 401
    assert (await sign_in(post, NEW)).status_code == 200
    refused = await post.get("/v1/me", headers=bearer(ada))
    assert_problem(refused, 401, "invalid_token")
    assert_problem(await reset(post, other), 422, "invalid_link")
    user_id = ada["user"]["id"]
    *_, last = await events(auth_engine, user_id)
    assert last["email_verified"]
    [(valid_after,)] = await fetch(
        auth_engine, "SELECT extract(epoch FROM tokens_valid_after)::float FROM users"
    )
    assert valid_after > began
    assert ("authn_password_reset", "anonymous", user_id) in await actions(auth_engine)
    notice = await next_mail(server, "was changed")
    assert notice.recipients == [ADA]


async def test_weak_password_does_not_use_the_link_up(
    post: httpx.AsyncClient, server: MailServer
) -> None:
    """The user can choose again, with the same link."""
    await signed_up(post, ADA)
    token = await reset_token(post, server)
    assert_problem(await reset(post, token, "too short"), 422, "weak_password")
    assert (await reset(post, token)).status_code == 204


@pytest.mark.parametrize("purpose", ["verify", "reset"])
async def test_link_works_once_however_many_open_it_at_once(
    purpose: str, post: httpx.AsyncClient, server: MailServer
) -> None:
    """Of twenty concurrent uses one succeeds, and the others learn nothing."""
    await signed_up(post, ADA)
    if purpose == "verify":
        token = await verification(server)
        answers = await asyncio.gather(*(verify(post, token) for _ in range(20)))
    else:
        token = await reset_token(post, server)
        answers = await asyncio.gather(*(reset(post, token, f"{NEW} {n}") for n in range(20)))

    assert sorted(answer.status_code for answer in answers) == [204] + [422] * 19
    assert {answer.json()["code"] for answer in answers if answer.content} == {"invalid_link"}


async def test_wrong_used_and_expired_links_are_one_error(
    post: httpx.AsyncClient, server: MailServer, auth_engine: AsyncEngine
) -> None:
    """The response does not show which of them it was."""
    await signed_up(post, ADA)
    used = await verification(server)
    await verify(post, used)
    expired = await reset_token(post, server)
    await execute(
        auth_engine, "UPDATE mail_links SET expires_at = now() - interval '1 microsecond'"
    )

    answers = [await verify(post, token) for token in (*MAYBE_TOKENS, used, expired)]
    answers += [await reset(post, token) for token in (*MAYBE_TOKENS, used, expired)]

    documents = [assert_problem(answer, 422, "invalid_link") for answer in answers]
    for document in documents:
        del document["instance"]
    assert all(document == documents[0] for document in documents)


async def test_half_a_surrogate_pair_is_refused(post: httpx.AsyncClient) -> None:
    for path, rest in (
        ("/v1/email/verify", ""),
        ("/v1/password/reset", f', "new_password": "{NEW}"'),
    ):
        answer = await post.post(
            path,
            content=f'{{"token": "\\ud800"{rest}}}',
            headers={"Content-Type": "application/json"},
        )
        assert_problem(answer, 422, "invalid_request")


async def test_link_is_good_for_its_own_purpose_alone(
    post: httpx.AsyncClient, server: MailServer
) -> None:
    """A day-long verification link does not set a password, nor the reverse."""
    await signed_up(post, ADA)
    verifying, resetting = await verification(server), await reset_token(post, server)
    assert_problem(await reset(post, verifying), 422, "invalid_link")
    assert_problem(await verify(post, resetting), 422, "invalid_link")
    assert (await verify(post, verifying)).status_code == 204
    assert (await reset(post, resetting)).status_code == 204


async def test_links_to_a_former_address_do_not_work(
    post: httpx.AsyncClient, server: MailServer
) -> None:
    """A link to the old mailbox neither verifies the new address nor opens the account."""
    ada = await signed_up(post, ADA)
    verifying, resetting = await verification(server), await reset_token(post, server)
    changed = await post.patch(
        "/v1/me", headers=bearer(ada), json={"email": "countess@example.org", "password": PASSWORD}
    )
    assert changed.status_code == 200

    assert_problem(await verify(post, verifying), 422, "invalid_link")
    assert_problem(await reset(post, resetting), 422, "invalid_link")

    new = await next_mail(server, "confirm")
    assert new.recipients == ["countess@example.org"]
    assert (await verify(post, new.token)).status_code == 204
    assert (await me(post, ada))["email_verified"]


async def test_links_of_a_disabled_user_do_not_work(
    post: httpx.AsyncClient, server: MailServer, auth_engine: AsyncEngine
) -> None:
    await signed_up(post, ADA)
    verifying, resetting = await verification(server), await reset_token(post, server)
    await execute(auth_engine, "UPDATE users SET status = 'disabled'")
    assert_problem(await verify(post, verifying), 422, "invalid_link")
    assert_problem(await reset(post, resetting), 422, "invalid_link")


async def test_links_and_mails_of_a_deleted_user_are_deleted(
    post: httpx.AsyncClient, server: MailServer, auth_engine: AsyncEngine
) -> None:
    """Nothing is left of them, and a link gets the error of any wrong link."""
    ada = await signed_up(post, ADA)
    token = await reset_token(post, server)
    deleted = await post.request(
        "DELETE", "/v1/me", headers=bearer(ada), json={"password": PASSWORD}
    )
    assert deleted.status_code == 204

    assert_problem(await reset(post, token), 422, "invalid_link")
    assert not await fetch(auth_engine, "SELECT 1 FROM mail_links")
    assert await is_empty(auth_engine)


async def test_forgotten_password_answers_the_same_for_an_unknown_address(
    mail_settings: ApiSettings, auth_engine: AsyncEngine
) -> None:
    """Status, body, headers and statements do not show who has an account."""
    app = create_app(mail_settings)  # not started, so that no mail is sent in the meantime
    statements: list[str] = []
    engine = app.state.context.engine

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def note(_: object, __: object, statement: str, *___: object) -> None:
        statements.append(statement)

    async def forgot(email: str, network: str) -> tuple[Any, list[str]]:
        """What a client can observe, and the statements to the database."""
        transport = httpx.ASGITransport(app, client=(network, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://auth.test") as client:
            statements.clear()
            answer = await client.post("/v1/password/forgot", json={"email": email})
        del answer.headers["X-Request-ID"]
        return (answer.status_code, answer.content, dict(answer.headers)), list(statements)

    first = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=first, base_url="http://auth.test") as client:
        await signed_up(client, ADA)
        await signed_up(client, "off@example.org")
    await execute(auth_engine, "UPDATE users SET status = 'disabled' WHERE email LIKE 'off@%'")
    await execute(auth_engine, "DELETE FROM mails")

    known = await forgot(ADA, "192.0.2.1")
    unknown = await forgot("nobody@example.org", "192.0.2.2")
    disabled = await forgot("off@example.org", "192.0.2.3")
    queued = await fetch(auth_engine, "SELECT purpose FROM mails")
    await engine.dispose()

    assert known[0][0] == 202
    assert known == unknown == disabled
    assert queued == [("reset_password",)]


async def test_the_commit_of_a_request_does_not_wait_for_the_disk(
    post: httpx.AsyncClient, server: MailServer, auth_engine: AsyncEngine
) -> None:
    """A commit that waits would show that the user exists."""
    await signed_up(post, ADA)
    await execute(
        auth_engine,
        "CREATE TABLE noted AS SELECT 'never' AS waits",
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        "  UPDATE noted SET waits = current_setting('synchronous_commit'); RETURN NEW; END $$",
        "CREATE TRIGGER note AFTER INSERT ON mails FOR EACH ROW EXECUTE FUNCTION note()",
    )

    await reset_token(post, server)

    assert await fetch(auth_engine, "SELECT waits FROM noted") == [("off",)]


@pytest.mark.parametrize("email", [ADA, "nobody@example.org"])
async def test_mails_to_one_address_are_limited(email: str, mail_settings: ApiSettings) -> None:
    """From any network, and whether or not an account has the address."""
    settings = mail_settings.model_copy(update={"limit_mail": Rate(2, 3600)})
    app = create_app(settings)
    answers = []
    for n in range(3):
        transport = httpx.ASGITransport(app, client=(f"192.0.2.{n}", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://auth.test") as client:
            # The same address, in any spelling.
            written = email.upper() if n else email
            answers.append(await client.post("/v1/password/forgot", json={"email": written}))
    await app.state.context.engine.dispose()

    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert "Retry-After" in answers[-1].headers


async def test_mails_requested_by_one_network_are_limited(mail_settings: ApiSettings) -> None:
    settings = mail_settings.model_copy(update={"limit_mail": Rate(2, 3600)})
    async with serving(settings) as client:
        answers = [
            await client.post("/v1/password/forgot", json={"email": f"user{n}@example.org"})
            for n in range(3)
        ]

    assert [answer.status_code for answer in answers] == [202, 202, 429]


async def test_resending_is_limited_like_resetting(
    mail_settings: ApiSettings, server: MailServer
) -> None:
    settings = mail_settings.model_copy(update={"limit_mail": Rate(2, 3600)})
    async with serving(settings) as client:
        ada = await signed_up(client, ADA)
        await reset_token(client, server)
        answers = [
            await client.post("/v1/me/email/verification", headers=bearer(ada)) for _ in range(2)
        ]

    assert [answer.status_code for answer in answers] == [202, 429]


async def test_attempts_to_use_links_are_limited(mail_settings: ApiSettings) -> None:
    settings = mail_settings.model_copy(update={"limit_token": Rate(3, 3600)})
    async with serving(settings) as client:
        for _ in range(3):
            assert_problem(await verify(client, "x"), 422, "invalid_link")
        answers = [await verify(client, "x"), await reset(client, "x")]
    assert [answer.status_code for answer in answers] == [429, 429]


async def test_service_without_mail_says_so(
    api: httpx.AsyncClient, auth_engine: AsyncEngine
) -> None:
    """Requests that need a mail are refused, and none is queued."""
    ada = await signed_up(api, ADA)
    asked = await api.post("/v1/me/email/verification", headers=bearer(ada))
    forgotten = await api.post("/v1/password/forgot", json={"email": ADA})
    assert_problem(asked, 503, "mail_not_configured")
    assert_problem(forgotten, 503, "mail_not_configured")
    assert await is_empty(auth_engine)


async def test_what_is_no_address_is_refused(post: httpx.AsyncClient) -> None:
    """An address that would inject a recipient or a header gets no mail."""
    for email in (
        "ada@example.org, eve@example.org",
        "ada@example.org\r\nBcc: eve@example.org",
        "ada@example.org>",
        '"ada eve"@example.org',
        "ada",
    ):
        answer = await post.post("/v1/password/forgot", json={"email": email})
        assert_problem(answer, 422, "invalid_email")


def has_event(lines: Sequence[Mapping[str, Any]], event: str) -> bool:
    return any(line["event"] == event for line in lines)


async def test_nothing_logged_holds_an_address_or_a_token(
    post: httpx.AsyncClient,
    server: MailServer,
    auth_engine: AsyncEngine,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Through sign-up, verification, reset and every way for a mail to fail."""
    caplog.set_level(logging.DEBUG)
    with capture_logs() as lines:
        ada = await signed_up(post, ADA)
        verifying = await verification(server)
        await verify(post, verifying)
        resetting = await reset_token(post, server)
        await reset(post, resetting)
        await reset(post, resetting)
        await next_mail(server, "was changed")
        for answer in ("450 later, ada@example.org", "550 no ada@example.org here"):
            server.refusal = answer
            await execute(
                auth_engine,
                "INSERT INTO mails (user_id, purpose) VALUES"
                f" ('{ada['user']['id']}', 'reset_password')",
            )
            await post.post("/v1/password/forgot", json={"email": "nobody@example.org"})
            event = {"4": "mail.requeued", "5": "mail.dropped"}[answer[0]]
            await eventually(partial(has_event, lines, event))

    # The test's mail server logs what it receives; those lines are not the service's.
    ours = [record.getMessage() for record in caplog.records if record.name != "mail.log"]
    written = repr(lines) + repr(ours)
    for secret in (ADA, "ada@", verifying, resetting, PASSWORD, NEW):
        assert secret not in written
