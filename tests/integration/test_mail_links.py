"""Verify an address and reset a password with links from mails, over HTTP."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from auth_service.app import create_app
from auth_service.settings import ApiSettings
from service_kit.process.rates import Rate
from tests.support.auth_api import (
    ADA,
    NEW_PASSWORD,
    PASSWORD,
    AuthApi,
    assert_problem,
    serving,
    statuses,
)
from tests.support.eventually import eventually
from tests.support.inbox import execute, fetch
from tests.support.log_ids import assert_has_ids
from tests.support.mailboxes import Post
from tests.support.relaying import outbox
from tests.support.statements import statements

MAYBE_TOKENS = ["", "x", "A" * 43, "A" * 128, "' OR true --", "ü" * 43]


async def both_links(post: Post) -> tuple[str, str]:
    """Sign Ada up; return the tokens of links that verify the address and reset the password."""
    await post.sign_up()
    return await post.link("confirm"), await post.reset_token()


async def events(engine: AsyncEngine, user_id: str) -> list[dict[str, Any]]:
    return [row.payload for row in await outbox(engine, UUID(user_id))]


async def actions(engine: AsyncEngine) -> list[tuple[str, str, str]]:
    rows = await fetch(engine, "SELECT action, actor, subject FROM audit_log ORDER BY id")
    return [(row.action, row.actor, row.subject) for row in rows]


async def test_sign_up_brings_a_link_that_verifies_the_address(post: Post) -> None:
    ada = await post.sign_up()
    assert not ada["user"]["email_verified"]

    answer = await post.verify(await post.link("confirm"))

    assert (answer.status_code, answer.content) == (204, b"")
    after = (await post.me(ada)).json()
    assert after["email_verified"]
    assert after["version"] > ada["user"]["version"]
    assert int(answer.headers["User-Version"]) == after["version"]
    *_, last = await events(post.engine, after["id"])
    assert (last["version"], last["email_verified"]) == (after["version"], True)
    assert ("email_verified", "anonymous", after["id"]) in await actions(post.engine)


async def test_verified_address_is_verified_once(post: Post) -> None:
    ada = await post.sign_up()
    again = await post.send_again(ada)
    tokens = [await post.link("confirm"), await post.link("confirm")]

    first = await post.verify(tokens[0])
    version = (await post.me(ada)).json()["version"]
    later = await statuses(post.verify(tokens[1]), post.send_again(ada))

    assert [again.status_code, first.status_code, *later] == [202, 204, 204, 202]
    assert (await post.me(ada)).json()["version"] == version
    assert_problem(await post.verify(tokens[0]), 422, "invalid_link")
    await post.until_sent()
    assert not post.server.received


async def test_a_reset_ends_everything_that_the_old_password_started(post: Post) -> None:
    """The old password, tokens and other links stop working; the user gets a notice."""
    ada = await post.sign_up()
    other = await post.reset_token()
    token = await post.reset_token()
    began = time.time()

    answer = await post.reset(token)

    assert (answer.status_code, answer.content) == (204, b"")
    assert await statuses(post.sign_in(), post.sign_in(password=NEW_PASSWORD)) == [401, 200]
    assert_problem(await post.me(ada), 401, "invalid_token")
    assert_problem(await post.reset(other), 422, "invalid_link")
    user_id = ada["user"]["id"]
    *_, last = await events(post.engine, user_id)
    assert last["email_verified"]
    [(valid_after,)] = await post.fetch("SELECT tokens_valid_after FROM users")
    assert valid_after.timestamp() > began
    assert ("authn_password_reset", "anonymous", user_id) in await actions(post.engine)
    notice = await post.next_mail("was changed")
    assert notice.recipients == [ADA]


async def test_weak_password_does_not_use_the_link_up(post: Post) -> None:
    """The user can choose again, with the same link."""
    await post.sign_up()
    token = await post.reset_token()
    assert_problem(await post.reset(token, "too short"), 422, "weak_password")
    assert (await post.reset(token)).status_code == 204


async def test_links_work_once_however_many_open_them_at_once(post: Post) -> None:
    """Of twenty concurrent uses one succeeds, and the others learn nothing."""
    verifying, resetting = await both_links(post)
    for uses in (
        [post.verify(verifying) for _ in range(20)],
        [post.reset(resetting, f"{NEW_PASSWORD} {n}") for n in range(20)],
    ):
        answers = await asyncio.gather(*uses)
        assert sorted(answer.status_code for answer in answers) == [204] + [422] * 19
        assert {each.json()["code"] for each in answers if each.content} == {"invalid_link"}


async def test_wrong_used_and_expired_links_are_one_error(post: Post) -> None:
    await post.sign_up()
    used = await post.link("confirm")
    await post.verify(used)
    expired = await post.reset_token()
    await post.execute("UPDATE mail_links SET expires_at = now() - interval '1 microsecond'")

    answers = [await post.verify(token) for token in (*MAYBE_TOKENS, used, expired)]
    answers += [await post.reset(token) for token in (*MAYBE_TOKENS, used, expired)]

    documents = [assert_problem(answer, 422, "invalid_link") for answer in answers]
    for document in documents:
        del document["instance"]
    assert all(document == documents[0] for document in documents)


async def test_link_is_good_for_its_own_purpose_alone(post: Post) -> None:
    """A day-long verification link does not set a password, nor the reverse."""
    verifying, resetting = await both_links(post)
    assert_problem(await post.reset(verifying), 422, "invalid_link")
    assert_problem(await post.verify(resetting), 422, "invalid_link")
    assert await statuses(post.verify(verifying), post.reset(resetting)) == [204, 204]


async def test_links_of_a_disabled_user_do_not_work(post: Post) -> None:
    verifying, resetting = await both_links(post)
    await post.execute("UPDATE users SET status = 'disabled'")
    for answer in (await post.verify(verifying), await post.reset(resetting)):
        assert_problem(answer, 422, "invalid_link")


async def test_forgotten_password_answers_the_same_for_an_unknown_address(
    mail_settings: ApiSettings,
) -> None:
    """Status, body, headers and statements do not show who has an account."""
    app = create_app(mail_settings)  # not started, so that no mail is sent in the meantime
    client = AuthApi(app)

    async def forgot(email: str, network: str) -> tuple[Any, list[str]]:
        """What a client can observe, and the statements to the database."""
        with statements() as executed:
            answer = await AuthApi(app, network).forget(email)
        del answer.headers["X-Request-ID"]
        return (answer.status_code, answer.content, dict(answer.headers)), executed

    await client.sign_up()
    await client.sign_up("off@example.org")
    await client.execute(
        "UPDATE users SET status = 'disabled' WHERE email LIKE 'off@%'", "DELETE FROM mails"
    )
    known = await forgot(ADA, "192.0.2.1")
    unknown = await forgot("nobody@example.org", "192.0.2.2")
    disabled = await forgot("off@example.org", "192.0.2.3")
    queued = await client.fetch("SELECT purpose FROM mails")
    await client.context.disconnect()

    assert known[0][0] == 202
    assert known[1]
    assert known == unknown == disabled
    assert queued == [("reset_password",)]


async def test_the_commit_of_a_request_does_not_wait_for_the_disk(
    post: Post, auth_engine: AsyncEngine
) -> None:
    """A commit that waits would show that the user exists."""
    await post.sign_up()
    await execute(
        auth_engine,
        "CREATE TABLE noted AS SELECT 'never' AS waits",
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN"
        "  UPDATE noted SET waits = current_setting('synchronous_commit'); RETURN NEW; END $$",
        "CREATE TRIGGER note AFTER INSERT ON mails FOR EACH ROW EXECUTE FUNCTION note()",
    )

    await post.reset_token()

    assert await fetch(auth_engine, "SELECT waits FROM noted") == [("off",)]


@pytest.mark.parametrize("email", [ADA, "nobody@example.org"])
async def test_mails_to_one_address_are_limited(email: str, mail_settings: ApiSettings) -> None:
    """From any network, in any spelling, and whether or not an account has the address."""
    app = create_app(mail_settings.model_copy(update={"limit_mail": Rate(2, 3600)}))
    clients = [AuthApi(app, f"192.0.2.{n}") for n in range(3)]
    spelled = zip(clients, (email, email.upper(), email), strict=True)
    answers = [await client.forget(written) for client, written in spelled]
    await clients[0].context.disconnect()
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert "Retry-After" in answers[-1].headers


async def test_mails_requested_by_one_network_and_uses_of_links_are_limited(
    mail_settings: ApiSettings,
) -> None:
    """A resent mail counts like a reset; guessing links is hopeless, and costs little."""
    limits = {"limit_mail": Rate(2, 3600), "limit_token": Rate(3, 3600)}
    async with serving(mail_settings.model_copy(update=limits)) as client:
        ada = await client.sign_up()
        asked = [
            client.send_again(ada),
            client.forget("user@example.org"),
            client.forget("other@example.org"),
            client.send_again(ada),
        ]
        assert await statuses(*asked) == [202, 202, 429, 429]
        for _ in range(3):
            assert_problem(await client.verify("x"), 422, "invalid_link")
        assert await statuses(client.verify("x"), client.reset("x")) == [429, 429]


async def test_service_without_mail_says_so(api: AuthApi) -> None:
    ada = await api.sign_up()
    for answer in (await api.send_again(ada), await api.forget()):
        assert_problem(answer, 503, "mail_not_configured")
    assert not await api.fetch("SELECT 1 FROM mails")


def has_event(lines: Sequence[Mapping[str, Any]], event: str) -> bool:
    return any(line["event"] == event for line in lines)


async def test_nothing_logged_holds_an_address_or_a_token(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    """Through sign-up, verification, reset and every way for a mail to fail."""
    caplog.set_level(logging.DEBUG)
    with capture_logs() as lines:
        ada = await post.sign_up()
        verifying = await post.link("confirm")
        await post.verify(verifying)
        resetting = await post.reset_token()
        await post.reset(resetting)
        await post.reset(resetting)
        await post.next_mail("was changed")
        for answer in ("450 later, ada@example.org", "550 no ada@example.org here"):
            post.server.refusal = answer
            await post.execute(
                "INSERT INTO mails (user_id, purpose) VALUES"
                f" ('{ada['user']['id']}', 'reset_password')"
            )
            await post.forget("nobody@example.org")
            event = {"4": "mail.requeued", "5": "mail.dropped"}[answer[0]]
            await eventually(partial(has_event, lines, event))

    for event in ("mail.requeued", "mail.dropped"):
        assert_has_ids(lines, event, user_id=ada["user"]["id"])
    # The test's mail server logs what it receives; those lines are not the service's.
    ours = [record.getMessage() for record in caplog.records if record.name != "mail.log"]
    written = repr(lines) + repr(ours)
    for secret in (ADA, "ada@", verifying, resetting, PASSWORD, NEW_PASSWORD):
        assert secret not in written
