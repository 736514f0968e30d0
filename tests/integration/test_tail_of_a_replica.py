"""``/v1/sync/events/tail`` and ``blog-service events tail``: what consumers settle."""

import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from pydantic import TypeAdapter

import blog_service.settings
from blog_service.app import create_app
from replica.tail import write
from replica.tail.write import write_continuously
from service_kit.http.tails import stream
from service_kit.http.tails.stream import LineBody
from tests.support.auth_api import assert_problem
from tests.support.background import in_background
from tests.support.builders import a_state, a_tombstone, an_event
from tests.support.content import People
from tests.support.database_roles import acting_as
from tests.support.eventually import eventually
from tests.support.http_server import served
from tests.support.inbox import Inbox, execute, fetch
from tests.support.processes import Process
from tests.support.tails import watching

PATH = "/v1/sync/events/tail"
OPERATOR = a_state(roles=("operator",))


@pytest.fixture
async def noting(inbox: Inbox) -> AsyncIterator[Inbox]:
    """A consumer at work, and what it writes for tails."""
    async with (
        inbox.consuming() as consumer,
        in_background(write_continuously(inbox.engine, consumer.notes)),
    ):
        yield inbox


@pytest.fixture
def url(blog_settings: blog_service.settings.ApiSettings) -> Iterator[str]:
    with served(create_app(blog_settings)) as server:
        yield f"http://127.0.0.1:{server.port}"


async def is_noting(inbox: Inbox) -> bool:
    """Publish a user, and tell whether some consumer has noted one by now."""
    await inbox.source.publish(an_event(a_state()))
    return bool(await fetch(inbox.engine, "SELECT 1 FROM tail_lines LIMIT 1"))


async def test_only_operators_watch(people: People) -> None:
    reader = await people.user(roles=("admin", "moderator"))
    assert_problem(await people.ask(None, "GET", PATH), 401, "authentication_required")
    assert_problem(await people.ask(reader, "GET", PATH), 403, "forbidden")


async def test_what_a_consumer_settles_is_shown_without_its_content(
    noting: Inbox, people: People, url: str
) -> None:
    """And nothing is written while nobody watches, nor kept afterwards."""
    await people.apply(OPERATOR)
    unwatched = a_state()
    await noting.source.publish(an_event(unwatched))
    await noting.has_applied(2)
    assert await fetch(noting.engine, "SELECT 1 FROM tail_lines") == []

    headers = {"Authorization": f"Bearer {people.token(OPERATOR.id)}"}
    async with watching(url + PATH, headers) as watched:
        await eventually(lambda: is_noting(noting))
        changed, gone = a_state(), a_tombstone()
        first = an_event(changed)
        await noting.source.publish(first, an_event(gone), first)
        await noting.source.publish_raw(b"{ someone@example.org")
        applied = await watched.shows(stage="applied", user_id=str(changed.id))
        deleted = await watched.shows(stage="applied", user_id=str(gone.id))
        await watched.shows(stage="unchanged", user_id=str(changed.id))
        parked = await watched.shows(stage="parked")

    TypeAdapter(list[LineBody]).validate_python(watched.lines)
    assert applied["event_id"] == str(first.id)
    assert (applied["version"], applied["lane"]) == (1, "live")
    assert applied["lag_seconds"] > 0
    assert deleted["type"] == "user.deleted"
    assert parked["type"] is None
    assert not watched.seen(user_id=str(unwatched.id))
    assert "@example.org" not in watched.text

    await execute(noting.engine, "UPDATE tail_watch SET until = now()")
    await eventually(lambda: _is_empty(noting))


async def test_a_tail_ends_soon_after_its_caller_lost_the_role(
    people: People, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "CHECK_EVERY_SECONDS", 0.1)
    operator = await people.user(roles=("operator",))
    headers = {"Authorization": f"Bearer {people.token(operator)}"}
    async with watching(url + PATH, headers) as watched:
        await people.user(operator, version=2)
        assert await watched.end() == "forbidden"


async def _is_empty(inbox: Inbox) -> bool:
    return await fetch(inbox.engine, "SELECT 1 FROM tail_lines") == []


async def test_what_is_too_much_is_counted_and_old_lines_are_forgotten(
    noting: Inbox, monkeypatch: pytest.MonkeyPatch, people: People, url: str
) -> None:
    monkeypatch.setattr("replica.tail.notes.NOTED_MAX", 3)
    monkeypatch.setattr(write, "_FORGET", write._FORGET.replace(str(write.KEPT), "5"))
    await people.apply(OPERATOR)
    headers = {"Authorization": f"Bearer {people.token(OPERATOR.id)}"}
    async with watching(url + PATH, headers) as watched:
        await eventually(lambda: is_noting(noting))
        await noting.source.publish(*(an_event(a_state()) for _ in range(200)))
        await eventually(lambda: watched.others.get("left_out"))
        await eventually(lambda: is_noting(noting))
    [(kept,)] = await fetch(noting.engine, "SELECT count(*) FROM tail_lines")
    assert kept <= 5 + 3


async def test_the_command_shows_lines_until_it_is_interrupted(
    noting: Inbox, blog_url: str, tmp_path: Path
) -> None:
    """With the exit code of an interrupt, and no traceback."""
    log = tmp_path / "log"
    settings = {"BLOG_DATABASE_URL": acting_as("blog_operator", blog_url), "PYTHONUNBUFFERED": "1"}
    process = Process("blog-service events tail --json", settings, log)
    process.start()
    try:
        await eventually(lambda: is_noting(noting))
        await eventually(lambda: '"stage": "applied"' in log.read_text())
        process.signal(signal.SIGINT)
        assert await process.ended() == 130
    finally:
        process.kill()
    assert "Traceback" not in log.read_text()
