"""Test erasure: deletion reaches all content, in bounded rounds, despite losses and crashes."""

import asyncio
from collections import Counter
from contextlib import AbstractAsyncContextManager
from functools import partial
from random import choice
from time import perf_counter
from typing import Any
from uuid import UUID, uuid4

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from blog_service.erasure import model
from blog_service.erasure import sweep as sweeping
from blog_service.erasure.due import count_due
from blog_service.erasure.model import ORPHAN_DAYS, ROWS_MAX
from blog_service.erasure.sweep import sweep, sweep_continuously
from blog_service.replica_of_users import USERS
from blog_service.settings import ApiSettings as BlogApiSettings
from blog_service.settings import ConsumerSettings, DeletedAuthors
from replica.status import metrics
from service_kit.process.rates import Rate
from tests.support.background import in_background
from tests.support.builders import a_state, a_tombstone, an_event
from tests.support.content import People, people_of
from tests.support.erasing import (
    NOTHING,
    Left,
    a_deleted_post,
    a_post,
    a_user,
    comments,
    deleted,
    left,
    posts,
    swept_all,
    written_as_a_request,
)
from tests.support.eventually import eventually
from tests.support.inbox import apply_events, consuming, execute, fetch, is_at
from tests.support.locks import lock_waits
from tests.support.parked_messages import a_delivery, park_deliveries
from tests.support.reconciling import Pair
from tests.support.source import Source


@pytest.fixture
def blog_settings(blog_settings: BlogApiSettings) -> BlogApiSettings:
    unlimited = dict.fromkeys(("limit_posts", "limit_comments"), Rate(10**6, 1))
    return blog_settings.model_copy(update=unlimited)


BOTH: tuple[DeletedAuthors, ...] = ("remove", "keep")


def kept_swept(
    engine: AsyncEngine, settings: ConsumerSettings
) -> AbstractAsyncContextManager[None]:
    return in_background(sweep_continuously(settings, engine))


async def is_swept(engine: AsyncEngine, user_id: UUID | None = None) -> bool:
    found = await left(engine, user_id)
    assert found == NOTHING, f"{found} is left"
    return True


async def note_of(engine: AsyncEngine, user_id: UUID) -> str | None:
    """Return why the user's content is due for erasure."""
    [row] = await fetch(engine, "SELECT sweep FROM users WHERE id = :id", id=user_id)
    return None if row.sweep is None else str(row.sweep)


async def buried(engine: AsyncEngine, user_id: UUID, version: int = 1) -> None:
    """Turn a user into an orphan, as a repair does."""
    async with engine.begin() as connection:
        await USERS.bury(connection, [(user_id, version)])


class TestTheNote:
    """Every way of writing a tombstone marks its content for erasure."""

    async def test_an_event_marks_the_user_for_erasure(self, blog_engine: AsyncEngine) -> None:
        nothing, provisional, living, tombstone = (uuid4() for _ in range(4))
        async with blog_engine.begin() as connection:
            await USERS.provide(connection, provisional)
        await apply_events(blog_engine, a_state(living, 1), a_tombstone(tombstone, 1))
        await swept_all(blog_engine)
        for user_id in (nothing, provisional, living, tombstone):
            await apply_events(blog_engine, a_tombstone(user_id, 2))
            assert await note_of(blog_engine, user_id) == "deleted"

    async def test_an_event_without_effect_marks_nobody(self, blog_engine: AsyncEngine) -> None:
        """A repeated tombstone or a late state starts no second sweep; living users need none."""
        user_id, state = uuid4(), a_state(version=1)
        await apply_events(blog_engine, a_tombstone(user_id, 5), state)
        await swept_all(blog_engine)
        for data in (a_tombstone(user_id, 5), a_state(user_id, 9), a_state(state.id, 2)):
            await apply_events(blog_engine, data)
            assert await note_of(blog_engine, data.id) is None
        assert await swept_all(blog_engine) == 0

    async def test_the_sources_tombstone_takes_an_orphans_place(
        self, blog_engine: AsyncEngine
    ) -> None:
        """The user then counts as deleted, without waiting a week."""
        state = a_state(version=1)
        await apply_events(blog_engine, state)
        await buried(blog_engine, state.id)
        before = await note_of(blog_engine, state.id)
        await apply_events(blog_engine, a_tombstone(state.id, 3))
        assert (before, await note_of(blog_engine, state.id)) == ("orphan", "deleted")


class TestDeletedUsers:
    """A deleted user's content under each setting."""

    async def test_with_remove_all_content_of_the_user_goes_and_nothing_else(
        self, blog_engine: AsyncEngine
    ) -> None:
        """Profile, posts and comments, and other users' comments on the posts."""
        ada, grace = await a_user(blog_engine), await a_user(blog_engine)
        adas, graces = await a_post(blog_engine, ada), await a_post(blog_engine, grace)
        for author in (ada, grace):
            for post in (adas, graces):
                await comments(blog_engine, author, post, 3)
        await deleted(blog_engine, ada)

        await swept_all(blog_engine)

        assert await left(blog_engine, ada) == NOTHING
        assert await left(blog_engine, grace) == Left(profiles=1, posts=1, comments=3, noted=0)
        assert await posts(blog_engine) == {graces: False}
        assert await fetch(blog_engine, "SELECT 1 FROM comments WHERE post_id = :id", id=adas) == []

    async def test_with_keep_only_the_profile_goes(self, blog_engine: AsyncEngine) -> None:
        ada, grace = await a_user(blog_engine), await a_user(blog_engine)
        post = await a_post(blog_engine, ada)
        await comments(blog_engine, ada, post, 2)
        await comments(blog_engine, grace, post, 2)
        await deleted(blog_engine, ada)
        await swept_all(blog_engine, "keep")
        assert await left(blog_engine, ada) == Left(profiles=0, posts=1, comments=2, noted=0)
        assert await left(blog_engine, grace) == Left(profiles=1, posts=0, comments=2, noted=0)

    async def test_the_setting_can_be_changed_to_remove_later(
        self, blog_engine: AsyncEngine
    ) -> None:
        """From keep to remove: the runbook's statement erases everything that was kept."""
        ada, orphan = await a_user(blog_engine), await a_user(blog_engine)
        await comments(blog_engine, ada, await a_post(blog_engine, ada), 2)
        await deleted(blog_engine, ada)
        await buried(blog_engine, orphan)
        await swept_all(blog_engine, "keep")

        await execute(
            blog_engine,
            "UPDATE users SET sweep = 'deleted' WHERE deleted_at IS NOT NULL AND sweep IS NULL",
        )
        await swept_all(blog_engine, "remove")

        assert await left(blog_engine, ada) == NOTHING
        assert await note_of(blog_engine, orphan) == "orphan"

    @pytest.mark.parametrize("deleted_authors", BOTH)
    async def test_nothing_personal_is_left_in_any_table(
        self, people: People, blog_engine: AsyncEngine, deleted_authors: DeletedAuthors
    ) -> None:
        grace, ada = await people.user(), await people.user(email="ada@example.org")
        profile = {"display_name": "Ada Lovelace", "bio": "writes programs"}
        await people.done(ada, "PATCH", "/v1/me", profile)
        post = await people.post(ada, **A_POST)
        await people.comment(ada, post, "I quite agree")
        await people.comment(ada, await people.post(grace), "I quite agree")
        await people.keep(ada, title="On engines", body="They might compose music")
        kept = (await people.keep(ada, title="On engines", body="They might compose music")).json()
        await people.done(ada, "DELETE", f"/v1/posts/{kept['id']}")
        parked = an_event(a_state(ada, 7, email="ada@example.org"))
        await park_deliveries(blog_engine, a_delivery(parked))
        words = {"ada@example.org", "Ada Lovelace", "writes programs"}
        if deleted_authors == "remove":
            words |= {"On engines", "They might compose music", "I quite agree"}
        before = {word for word in words if await is_anywhere(blog_engine, word)}

        await deleted(blog_engine, ada)
        await swept_all(blog_engine, deleted_authors)

        assert before == words
        assert {word for word in words if await is_anywhere(blog_engine, word)} == set()
        assert await count(blog_engine, "posts") == (1 if deleted_authors == "remove" else 3)


async def is_anywhere(engine: AsyncEngine, word: str) -> bool:
    """Tell whether any column of any table contains the word, as text, in JSON or as bytes."""
    tables = await fetch(
        engine, "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relkind = 'r'"
    )  # fmt: skip
    for table in tables:
        found = await fetch(
            engine,
            f"SELECT 1 FROM {table.relname} AS row WHERE row::text LIKE '%' || :word || '%'"
            " OR row::text LIKE '%' || :bytes || '%' LIMIT 1",
            word=word,
            bytes=word.encode().hex(),
        )
        if found:
            return True
    return False


class TestDeletedPosts:
    """A deleted post's comments are erased; its row goes with its author."""

    async def test_the_comments_on_a_deleted_post_go(self, blog_engine: AsyncEngine) -> None:
        for deleted_authors in BOTH:
            ada, grace = await a_user(blog_engine), await a_user(blog_engine)
            gone, there = await a_deleted_post(blog_engine, ada), await a_post(blog_engine, ada)
            for post in (gone, there):
                await comments(blog_engine, grace, post, 5)
            await swept_all(blog_engine, deleted_authors)
            assert (await posts(blog_engine)).items() >= {gone: False, there: False}.items()
            assert await left(blog_engine, grace) == Left(profiles=1, posts=0, comments=5, noted=0)

    async def test_the_empty_row_of_a_deleted_post_stays(self, blog_engine: AsyncEngine) -> None:
        """Otherwise a service would create it again; it goes when its author is deleted."""
        ada = await a_user(blog_engine)
        own, kept = [
            await a_deleted_post(blog_engine, ada, service) for service in (None, "svc_feed")
        ]
        for post in (own, kept):
            await comments(blog_engine, ada, post, 5)

        await swept_all(blog_engine)
        while_they_live = await posts(blog_engine)
        rounds_more = await swept_all(blog_engine)
        await deleted(blog_engine, ada)
        await swept_all(blog_engine)

        assert (while_they_live, rounds_more) == ({own: False, kept: False}, 0)
        assert await posts(blog_engine) == {}

    async def test_an_unswept_post_goes_with_its_deleted_author(
        self, blog_engine: AsyncEngine
    ) -> None:
        ada, grace = await a_user(blog_engine), await a_user(blog_engine)
        await comments(blog_engine, grace, await a_deleted_post(blog_engine, ada, "svc_feed"), 2)
        await deleted(blog_engine, ada)
        await swept_all(blog_engine)
        assert await posts(blog_engine) == {}
        assert await left(blog_engine, ada) == NOTHING


class TestOrphans:
    """Users unknown to the source: hidden at once, erased after a week."""

    @pytest.mark.parametrize("deleted_authors", BOTH)
    async def test_an_orphans_content_is_hidden_at_once_and_erased_after_a_week(
        self, people: People, blog_engine: AsyncEngine, deleted_authors: DeletedAuthors
    ) -> None:
        orphan = await a_user(blog_engine)
        await comments(blog_engine, orphan, await a_post(blog_engine, orphan))
        await buried(blog_engine, orphan)
        settings = people.settings.model_copy(update={"deleted_authors": deleted_authors})
        async with people_of(settings, people.key) as readers:
            shown = await readers.titles()

        async def due(minutes: int) -> int:
            """Let the orphan be as many minutes older than a week; count what is due."""
            await execute(
                blog_engine,
                f"UPDATE users SET deleted_at = now() - interval '{ORPHAN_DAYS} d {minutes} min'"
                " WHERE deleted_at IS NOT NULL",
            )
            async with blog_engine.connect() as connection:
                return await count_due(connection)

        assert shown == []
        assert await swept_all(blog_engine, deleted_authors) == 0
        assert await due(-1) == 0
        assert await swept_all(blog_engine, deleted_authors) == 0
        assert await left(blog_engine, orphan) == Left(profiles=1, posts=1, comments=1, noted=1)
        assert await due(+1) == 1
        await swept_all(blog_engine, deleted_authors)
        assert await left(blog_engine, orphan) == NOTHING

    async def test_within_a_week_a_wrongly_deleted_orphan_can_be_restored(self, pair: Pair) -> None:
        """After a comparison with a restored source, the user and their posts can be restored."""
        [user_id] = [UUID(each) for each in await pair.ids("email = 'user1@example.org'", 1)]
        post = await a_post(pair.blog, user_id)
        await buried(pair.blog, user_id, 1700000000000001)
        await swept_all(pair.blog)

        await pair.damage("DELETE FROM users WHERE sweep = 'orphan'")
        run = await pair.reconcile(repair=True)
        await swept_all(pair.blog)

        assert run.repaired == {"missing": 1}
        assert await posts(pair.blog) == {post: False}
        assert await left(pair.blog, user_id) == Left(0, posts=1, comments=0, noted=0)


class TestLost:
    """The state of the tables drives it, so no message is needed."""

    async def test_every_tombstone_that_a_repair_writes_is_swept(self, pair: Pair) -> None:
        """A deletion was lost, a deleted row lost while its user wrote on, or its time changed."""
        tombstones = [UUID(each) for each in await pair.ids("deleted_at IS NOT NULL", 3)]
        undeleted, removed, changed = tombstones
        await comments(pair.blog, undeleted, await a_post(pair.blog, undeleted), 3)
        await pair.damage(
            "UPDATE users SET deleted_at = NULL, status = 'active', version = version - 1,"
            " email = 'ada@example.org', created_at = now(), updated_at = now()"
            f" WHERE id = '{undeleted}'",
            f"DELETE FROM users WHERE id = '{removed}'",
            f"UPDATE users SET deleted_at = now() WHERE id = '{changed}'",
        )
        async with pair.blog.begin() as connection:
            await USERS.provide(connection, removed)
            await written_as_a_request(connection, removed)

        run = await pair.reconcile(repair=True)
        notes = [await note_of(pair.blog, user_id) for user_id in tombstones]
        await swept_all(pair.blog)

        # What was changed is written under the other guard, first as a user who is alive.
        assert run.repaired == {"corrupt": 1, "undeleted": 2}
        assert notes == ["deleted"] * 3
        assert [await left(pair.blog, user_id) for user_id in tombstones] == [NOTHING] * 3
        assert await pair.agrees()

    async def test_a_provisional_orphan_goes_with_all_content(self, pair: Pair) -> None:
        """Without a tombstone: the posts and the comments on them go with the row."""
        stranger, reader = uuid4(), await a_user(pair.blog)
        async with pair.blog.begin() as connection:
            await USERS.provide(connection, stranger)
        post = await a_post(pair.blog, stranger)
        await comments(pair.blog, stranger, post)
        await comments(pair.blog, reader, post)
        await execute(pair.blog, f"INSERT INTO profiles (user_id) VALUES ('{stranger}')")
        await comments(pair.blog, reader)

        await pair.reconcile(orphans=True, deletions_max=1)

        assert await left(pair.blog, stranger) == NOTHING
        assert await posts(pair.blog) == {}
        assert (await left(pair.blog, reader)).comments == 1
        assert await fetch(pair.blog, "SELECT 1 FROM users WHERE id = :id", id=stranger) == []


class TestAtOnce:
    """Consumers, writers and operators work concurrently."""

    async def test_several_sweepers_share_the_work(
        self, blog_engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each row is erased once, no user is missed, and no lock is waited for."""
        monkeypatch.setattr(model, "ROWS_MAX", 20)
        users = [await a_user(blog_engine) for _ in range(10)]
        for user in users:
            post = await a_post(blog_engine, user)
            for commenter in users:
                await comments(blog_engine, commenter, post, 2)
        before = erased()
        await deleted(blog_engine, *users)

        async def rounds() -> None:
            while await count(blog_engine, "users WHERE sweep IS NOT NULL"):
                await sweep(blog_engine, "remove")

        await asyncio.gather(*(rounds() for _ in range(4)))
        await swept_all(blog_engine)

        assert await left(blog_engine) == NOTHING
        assert erased() == {kind: before[kind] + n for kind, n in EXPECTED.items()}

    async def test_no_round_begins_during_another(self, blog_engine: AsyncEngine) -> None:
        """Two rounds at once would only wait for each other."""
        await deleted(blog_engine, await a_user(blog_engine))
        async with blog_engine.begin() as connection:
            await connection.execute(sweeping._BEGIN, {"key": sweeping.LOCK_KEY})
            meanwhile = await sweep(blog_engine, "remove")
        after = await sweep(blog_engine, "remove")
        assert (meanwhile.made_progress, after.profiles) == (False, 1)

    async def test_locked_rows_are_skipped(self, blog_engine: AsyncEngine) -> None:
        """Locked rows are left to the next round; until then the user is not marked as swept."""
        for held in (
            "SELECT 1 FROM comments WHERE body LIKE '% 7' FOR UPDATE",
            "SELECT 1 FROM posts FOR SHARE",
            "SELECT 1 FROM users WHERE sweep IS NOT NULL FOR SHARE",
        ):
            user = await a_user(blog_engine)
            await comments(blog_engine, user, await a_post(blog_engine, user), 10)
            await deleted(blog_engine, user)

            async with blog_engine.begin() as connection:
                await connection.execute(text(held))
                async with asyncio.timeout(1.5):  # under the time for which a lock is waited for
                    await swept_all(blog_engine)
                assert (await left(blog_engine, user)).noted == 1, held
            await swept_all(blog_engine)

            assert await left(blog_engine, user) == NOTHING

    async def test_content_written_before_the_tombstone_is_swept(
        self, blog_engine: AsyncEngine
    ) -> None:
        """The tombstone waits for a writing request, so the sweep sees its content."""
        user = await a_user(blog_engine)
        async with blog_engine.connect() as writing:
            await written_as_a_request(writing, user)
            deleting = asyncio.create_task(deleted(blog_engine, user))
            await eventually(lambda: lock_waits(blog_engine))
            too_early = await swept_all(blog_engine)
            await writing.commit()
            await deleting

        await swept_all(blog_engine)

        assert too_early == 0
        assert await left(blog_engine, user) == NOTHING

    async def test_no_race_leaves_content_of_a_deleted_user(
        self, people: People, consumer_settings: ConsumerSettings
    ) -> None:
        """Users write as fast as they can until they are deleted, while the sweep runs."""
        users = [await people.user() for _ in range(20)]
        first = [await people.post(user) for user in users]
        late = {401, 404}  # the user, or the post's author, is deleted
        written = Counter[UUID]()

        async def write(user: UUID) -> None:
            while True:
                post = await people.ask(user, "POST", "/v1/posts", A_POST)
                theirs = f"/v1/posts/{choice(first)['id']}/comments"
                answers = [
                    post,
                    await people.ask(user, "POST", theirs, {"body": "Indeed"}),
                    await people.ask(user, "PATCH", "/v1/me", {"display_name": "Ada"}),
                ]
                if post.is_success:
                    path = f"/v1/posts/{post.json()['id']}"
                    answers.append(await people.ask(user, "POST", f"{path}/comments", A_COMMENT))
                    answers.append(await people.ask(user, "DELETE", path))
                assert {each.status_code for each in answers if not each.is_success} <= late
                if post.status_code == 401:
                    return
                written[user] += 1

        async with kept_swept(people.engine, consumer_settings):
            async with asyncio.TaskGroup() as writing:
                for user in users:
                    writing.create_task(write(user))
                await eventually(lambda: len(written) == len(users))
                for user in users:
                    await people.apply(a_tombstone(user))
            await eventually(lambda: is_swept(people.engine))

        assert await posts(people.engine) == {}


A_POST = {"title": "On engines", "body": "They might compose music"}
A_COMMENT = {"body": "I quite agree"}


EXPECTED = {"profile": 10, "post": 10, "comment": 200}


def erased() -> dict[str, float]:
    name = "usersync_sweep_erased_rows_total"
    return {kind: REGISTRY.get_sample_value(name, {"kind": kind}) or 0 for kind in EXPECTED}


async def count(engine: AsyncEngine, what: str) -> int:
    [row] = await fetch(engine, f"SELECT count(*) AS rows FROM {what}")
    return int(row.rows)


class TestMuch:
    """With much content, transactions stay short and live events are applied."""

    async def test_no_transaction_erases_more_than_the_maximum_of_rows(
        self, blog_engine: AsyncEngine
    ) -> None:
        ada, grace = await a_user(blog_engine), await a_user(blog_engine)
        for _ in range(150):
            await a_post(blog_engine, ada)
        await comments(blog_engine, ada, count=3_500)
        await comments(blog_engine, grace, await a_deleted_post(blog_engine, grace), 2_500)
        await execute(blog_engine, *COUNTING)
        await deleted(blog_engine, ada)

        rounds = await swept_all(blog_engine)

        erased = await fetch(
            blog_engine, "SELECT sum(rows) AS rows FROM erasures GROUP BY transaction ORDER BY 1"
        )
        assert await left(blog_engine, ada) == NOTHING
        assert max(row.rows for row in erased) == ROWS_MAX
        # Of each post the text goes first, and then the row.
        assert sum(row.rows for row in erased) == 3_500 + 2_500 + 1 + 2 * 150 + 1
        assert rounds <= 8

    @pytest.mark.slow
    async def test_a_hundred_thousand_comments_delay_no_live_event(
        self, blog_engine: AsyncEngine, consumer_settings: ConsumerSettings, source: Source
    ) -> None:
        """Events of others, and late ones of this user, are applied meanwhile."""
        ada = await a_user(blog_engine)
        await comments(blog_engine, ada, count=100_000)
        await deleted(blog_engine, ada)
        took: list[float] = []
        async with consuming(consumer_settings, blog_engine):
            before = tombstoned()
            async with kept_swept(blog_engine, consumer_settings):
                while await count(blog_engine, "comments"):
                    state = a_state()
                    began = perf_counter()
                    await source.publish(an_event(a_state(ada, 9)), an_event(state))
                    await eventually(partial(is_at, blog_engine, state.id, 1), every=0.002)
                    await eventually(partial(has_tombstoned, before + len(took) + 1), every=0.002)
                    took.append(perf_counter() - began)
                await eventually(lambda: is_swept(blog_engine))

        took.sort()
        assert len(took) >= 20
        assert took[len(took) // 2] < 0.5
        assert took[-1] < consumer_settings.lock_timeout_ms / 1000, "a row was held for too long"

    async def test_the_tombstones_of_a_new_replica_are_swept_quickly(
        self, blog_engine: AsyncEngine
    ) -> None:
        await apply_events(blog_engine, *(a_tombstone() for _ in range(1_000)))
        rounds = await swept_all(blog_engine)
        assert rounds <= 1_000 / model.USERS_MAX
        assert await left(blog_engine) == NOTHING


COUNTING = (
    "CREATE TABLE erasures (transaction xid8, rows int)",
    """
    CREATE FUNCTION count_erased() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO erasures SELECT pg_current_xact_id(), count(*) FROM gone;
        RETURN NULL;
    END $$
    """,
    *(
        f"CREATE TRIGGER count_{event} AFTER {event} ON {table}"
        " REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION count_erased()"
        for table in ("profiles", "posts", "comments")
        for event in ("DELETE", "UPDATE")
    ),
)


def tombstoned() -> float:
    labels = {"outcome": "tombstoned"}
    return REGISTRY.get_sample_value("usersync_inbox_messages_total", labels) or 0


def has_tombstoned(events: float) -> bool:
    return tombstoned() == events


class TestKeptSwept:
    """The loop in the consumer process."""

    async def test_the_loop_survives_errors_and_defects(
        self,
        blog_engine: AsyncEngine,
        consumer_settings: ConsumerSettings,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        async def fail(*_: Any) -> None:
            raise RuntimeError

        monkeypatch.setattr(sweeping, "LOOK_EVERY_SECONDS", 0.01)
        user = await a_user(blog_engine)
        await deleted(blog_engine, user)
        await execute(blog_engine, "ALTER TABLE profiles RENAME TO gone")
        with capture_logs() as logs:
            async with kept_swept(blog_engine, consumer_settings):
                await eventually(lambda: "erasure.database_away" in [log["event"] for log in logs])
                with monkeypatch.context() as ours:
                    ours.setattr(sweeping, "sweep", fail)
                    await eventually(lambda: "erasure.unexpected" in [log["event"] for log in logs])
                await execute(blog_engine, "ALTER TABLE gone RENAME TO profiles")
                await eventually(lambda: is_swept(blog_engine, user))

    async def test_a_slow_sweep_is_logged_by_id_alone(
        self,
        blog_engine: AsyncEngine,
        consumer_settings: ConsumerSettings,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(model, "ROWS_MAX", 20)
        monkeypatch.setattr(model, "SLOW_SECONDS", 0.0)
        ada, grace = await a_user(blog_engine), await a_user(blog_engine)
        await comments(blog_engine, ada, count=30)
        post = await a_deleted_post(blog_engine, grace)
        await comments(blog_engine, grace, post, 30)
        await deleted(blog_engine, ada, uuid4())
        with capture_logs() as logs:
            async with kept_swept(blog_engine, consumer_settings):
                await eventually(lambda: len(logs) == 2)

        told = [{name: log[name] for name in log if name.endswith("_id")} for log in logs]
        assert {log["event"] for log in logs} == {"erasure.slow"}
        assert told == [{"user_id": str(ada)}, {"post_id": str(post)}]

    async def test_the_setting_is_the_consumers(
        self, blog_engine: AsyncEngine, consumer_settings: ConsumerSettings
    ) -> None:
        user = await a_user(blog_engine)
        await a_post(blog_engine, user)
        await deleted(blog_engine, user)

        async def has_no_note() -> bool:
            return await note_of(blog_engine, user) is None

        keeping = consumer_settings.model_copy(update={"deleted_authors": "keep"})
        async with kept_swept(blog_engine, keeping):
            await eventually(has_no_note)
        assert await left(blog_engine, user) == Left(profiles=0, posts=1, comments=0, noted=0)

    async def test_the_due_erasures_are_a_metric(self, blog_engine: AsyncEngine) -> None:
        ada, grace = await a_user(blog_engine), await a_user(blog_engine)
        await a_deleted_post(blog_engine, grace)
        await deleted(blog_engine, ada)
        await metrics.refresh(USERS, blog_engine)
        due = REGISTRY.get_sample_value("usersync_sweep_due")
        await swept_all(blog_engine)
        await metrics.refresh(USERS, blog_engine)
        assert (due, REGISTRY.get_sample_value("usersync_sweep_due")) == (2, 0)
