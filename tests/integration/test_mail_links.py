"""Verify an address and reset a password with links from mails, over HTTP."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from auth_service.app import create_app
from auth_service.settings import ApiSettings
from service_kit.process.rates import Rate
from tests.support.auth_api import (
    ADA,
    PASSWORD,
    AuthApi,
    assert_problem,
    bearer,
    serving,
    signed_up,
)
from tests.support.eventually import eventually
from tests.support.inbox import fetch
from tests.support.mail_server import MailServer
from tests.support.mailboxes import forget, link, next_mail, until_sent, verify
from tests.support.mailboxes import reset as reset_to
from tests.support.relaying import outbox

NEW = "another battery for the horse"
MAYBE_TOKENS = ["", "x", "A" * 43, "A" * 128, "' OR true --", "ü" * 43]


async def reset_token(client: AuthApi, server: MailServer) -> str:
    assert (await forget(client, ADA)).status_code == 202
    return await link(server, "new password")


async def both_links(client: AuthApi, server: MailServer) -> tuple[str, str]:
    """Sign Ada up; return the tokens of links that verify the address and reset the password."""
    await signed_up(client, ADA)
    return await link(server, "confirm"), await reset_token(client, server)


async def reset(client: AuthApi, token: str, password: str = NEW) -> httpx.Response:
    return await reset_to(client, token, password)


async def events(engine: AsyncEngine, user_id: str) -> list[dict[str, Any]]:
    return [row.payload for row in await outbox(engine, UUID(user_id))]


async def actions(engine: AsyncEngine) -> list[tuple[str, str, str]]:
    rows = await fetch(engine, "SELECT action, actor, subject FROM audit_log ORDER BY id")
    return [(row.action, row.actor, row.subject) for row in rows]


async def test_sign_up_brings_a_link_that_verifies_the_address(
    post: AuthApi, server: MailServer
) -> None:
    ada = await signed_up(post, ADA)
    assert not ada["user"]["email_verified"]

    answer = await verify(post, await link(server, "confirm"))

    assert (answer.status_code, answer.content) == (204, b"")
    after = (await post.me(ada)).json()
    assert after["email_verified"]
    assert after["version"] > ada["user"]["version"]
    *_, last = await events(post.engine, after["id"])
    assert (last["version"], last["email_verified"]) == (after["version"], True)
    assert ("email_verified", "anonymous", after["id"]) in await actions(post.engine)


async def test_verified_address_is_verified_once(post: AuthApi, server: MailServer) -> None:
    ada = await signed_up(post, ADA)
    again = await post.post("/v1/me/email/verification", headers=bearer(ada))
    tokens = [await link(server, "confirm"), await link(server, "confirm")]

    first = await verify(post, tokens[0])
    version = (await post.me(ada)).json()["version"]
    second = await verify(post, tokens[1])
    third = await post.post("/v1/me/email/verification", headers=bearer(ada))

    assert [each.status_code for each in (again, first, second, third)] == [202, 204, 204, 202]
    assert (await post.me(ada)).json()["version"] == version
    assert_problem(await verify(post, tokens[0]), 422, "invalid_link")
    await until_sent(post)
    assert not server.received


async def test_a_reset_ends_everything_that_the_old_password_started(
    post: AuthApi, server: MailServer
) -> None:
    """The old password, tokens and other links stop working; the user gets a notice."""
    ada = await signed_up(post, ADA)
    other = await reset_token(post, server)
    token = await reset_token(post, server)
    began = time.time()

    answer = await reset(post, token)

    assert (answer.status_code, answer.content) == (204, b"")
    assert (await post.sign_in(password=PASSWORD)).status_code == 401
    assert (await post.sign_in(password=NEW)).status_code == 200
    assert_problem(await post.me(ada), 401, "invalid_token")
    assert_problem(await reset(post, other), 422, "invalid_link")
    user_id = ada["user"]["id"]
    *_, last = await events(post.engine, user_id)
    assert last["email_verified"]
    [(valid_after,)] = await post.fetch("SELECT tokens_valid_after FROM users")
    assert valid_after.timestamp() > began
    assert ("authn_password_reset", "anonymous", user_id) in await actions(post.engine)
    notice = await next_mail(server, "was changed")
    assert notice.recipients == [ADA]


async def test_weak_password_does_not_use_the_link_up(post: AuthApi, server: MailServer) -> None:
    """The user can choose again, with the same link."""
    await signed_up(post, ADA)
    token = await reset_token(post, server)
    assert_problem(await reset(post, token, "too short"), 422, "weak_password")
    assert (await reset(post, token)).status_code == 204


async def test_links_work_once_however_many_open_them_at_once(
    post: AuthApi, server: MailServer
) -> None:
    """Of twenty concurrent uses one succeeds, and the others learn nothing."""
    verifying, resetting = await both_links(post, server)
    for uses in (
        [verify(post, verifying) for _ in range(20)],
        [reset(post, resetting, f"{NEW} {n}") for n in range(20)],
    ):
        answers = await asyncio.gather(*uses)
        assert sorted(answer.status_code for answer in answers) == [204] + [422] * 19
        assert {each.json()["code"] for each in answers if each.content} == {"invalid_link"}


async def test_wrong_used_and_expired_links_are_one_error(
    post: AuthApi, server: MailServer
) -> None:
    await signed_up(post, ADA)
    used = await link(server, "confirm")
    await verify(post, used)
    expired = await reset_token(post, server)
    await post.execute("UPDATE mail_links SET expires_at = now() - interval '1 microsecond'")

    answers = [await verify(post, token) for token in (*MAYBE_TOKENS, used, expired)]
    answers += [await reset(post, token) for token in (*MAYBE_TOKENS, used, expired)]

    documents = [assert_problem(answer, 422, "invalid_link") for answer in answers]
    for document in documents:
        del document["instance"]
    assert all(document == documents[0] for document in documents)


async def test_link_is_good_for_its_own_purpose_alone(post: AuthApi, server: MailServer) -> None:
    """A day-long verification link does not set a password, nor the reverse."""
    verifying, resetting = await both_links(post, server)
    assert_problem(await reset(post, verifying), 422, "invalid_link")
    assert_problem(await verify(post, resetting), 422, "invalid_link")
    assert (await verify(post, verifying)).status_code == 204
    assert (await reset(post, resetting)).status_code == 204


async def test_links_of_a_disabled_user_do_not_work(post: AuthApi, server: MailServer) -> None:
    verifying, resetting = await both_links(post, server)
    await post.execute("UPDATE users SET status = 'disabled'")
    assert_problem(await verify(post, verifying), 422, "invalid_link")
    assert_problem(await reset(post, resetting), 422, "invalid_link")


async def test_forgotten_password_answers_the_same_for_an_unknown_address(
    mail_settings: ApiSettings,
) -> None:
    """Status, body, headers and statements do not show who has an account."""
    app = create_app(mail_settings)  # not started, so that no mail is sent in the meantime
    statements: list[str] = []

    async def forgot(email: str, network: str) -> tuple[Any, list[str]]:
        """What a client can observe, and the statements to the database."""
        async with AuthApi(app, network) as client:
            statements.clear()
            answer = await forget(client, email)
        del answer.headers["X-Request-ID"]
        return (answer.status_code, answer.content, dict(answer.headers)), list(statements)

    async with AuthApi(app) as client:
        event.listen(
            client.engine.sync_engine,
            "before_cursor_execute",
            lambda _, __, statement, *___: statements.append(statement),
        )
        await signed_up(client, ADA)
        await signed_up(client, "off@example.org")
        await client.execute(
            "UPDATE users SET status = 'disabled' WHERE email LIKE 'off@%'", "DELETE FROM mails"
        )
    known = await forgot(ADA, "192.0.2.1")
    unknown = await forgot("nobody@example.org", "192.0.2.2")
    disabled = await forgot("off@example.org", "192.0.2.3")
    queued = await client.fetch("SELECT purpose FROM mails")
    await client.engine.dispose()

    assert known[0][0] == 202
    assert known == unknown == disabled
    assert queued == [("reset_password",)]


async def test_the_commit_of_a_request_does_not_wait_for_the_disk(
    post: AuthApi, server: MailServer
) -> None:
    """A commit that waits would show that the user exists."""
    await signed_up(post, ADA)
    await post.execute(
        "CREATE TABLE noted AS SELECT 'never' AS waits",
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        "  UPDATE noted SET waits = current_setting('synchronous_commit'); RETURN NEW; END $$",
        "CREATE TRIGGER note AFTER INSERT ON mails FOR EACH ROW EXECUTE FUNCTION note()",
    )

    await reset_token(post, server)

    assert await post.fetch("SELECT waits FROM noted") == [("off",)]


@pytest.mark.parametrize("email", [ADA, "nobody@example.org"])
async def test_mails_to_one_address_are_limited(email: str, mail_settings: ApiSettings) -> None:
    """From any network, in any spelling, and whether or not an account has the address."""
    app = create_app(mail_settings.model_copy(update={"limit_mail": Rate(2, 3600)}))
    answers = []
    for n, written in enumerate((email, email.upper(), email)):
        async with AuthApi(app, f"192.0.2.{n}") as client:
            answers.append(await forget(client, written))
    await client.engine.dispose()

    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert "Retry-After" in answers[-1].headers


async def test_mails_requested_by_one_network_and_uses_of_links_are_limited(
    mail_settings: ApiSettings,
) -> None:
    """A resent mail counts like a reset; guessing links is hopeless, and costs little."""
    limits = {"limit_mail": Rate(2, 3600), "limit_token": Rate(3, 3600)}
    async with serving(mail_settings.model_copy(update=limits)) as client:
        ada = await signed_up(client, ADA)
        answers = [
            await client.post("/v1/me/email/verification", headers=bearer(ada)),
            await forget(client, "user@example.org"),
            await forget(client, "other@example.org"),
            await client.post("/v1/me/email/verification", headers=bearer(ada)),
        ]
        uses = [await verify(client, "x") for _ in range(3)]
        late = [await verify(client, "x"), await reset(client, "x")]

    assert [answer.status_code for answer in answers] == [202, 202, 429, 429]
    for answer in uses:
        assert_problem(answer, 422, "invalid_link")
    assert [answer.status_code for answer in late] == [429, 429]


async def test_service_without_mail_says_so(api: AuthApi) -> None:
    ada = await signed_up(api, ADA)
    asked = await api.post("/v1/me/email/verification", headers=bearer(ada))
    forgotten = await api.post("/v1/password/forgot", json={"email": ADA})
    assert_problem(asked, 503, "mail_not_configured")
    assert_problem(forgotten, 503, "mail_not_configured")
    assert not await api.fetch("SELECT 1 FROM mails")


def has_event(lines: Sequence[Mapping[str, Any]], event: str) -> bool:
    return any(line["event"] == event for line in lines)


async def test_nothing_logged_holds_an_address_or_a_token(
    post: AuthApi, server: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Through sign-up, verification, reset and every way for a mail to fail."""
    caplog.set_level(logging.DEBUG)
    with capture_logs() as lines:
        ada = await signed_up(post, ADA)
        verifying = await link(server, "confirm")
        await verify(post, verifying)
        resetting = await reset_token(post, server)
        await reset(post, resetting)
        await reset(post, resetting)
        await next_mail(server, "was changed")
        for answer in ("450 later, ada@example.org", "550 no ada@example.org here"):
            server.refusal = answer
            await post.execute(
                "INSERT INTO mails (user_id, purpose) VALUES"
                f" ('{ada['user']['id']}', 'reset_password')"
            )
            await post.post("/v1/password/forgot", json={"email": "nobody@example.org"})
            event = {"4": "mail.requeued", "5": "mail.dropped"}[answer[0]]
            await eventually(partial(has_event, lines, event))

    # The test's mail server logs what it receives; those lines are not the service's.
    ours = [record.getMessage() for record in caplog.records if record.name != "mail.log"]
    written = repr(lines) + repr(ours)
    for secret in (ADA, "ada@", verifying, resetting, PASSWORD, NEW):
        assert secret not in written
