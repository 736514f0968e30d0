"""Test erasure: deletion reaches all content, in bounded rounds, despite losses and crashes."""

import asyncio
from collections import Counter
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
from blog_service.erasure.sweep import sweep
from blog_service.replica_of_users import USERS
from blog_service.settings import ApiSettings as BlogApiSettings
from blog_service.settings import ConsumerSettings, DeletedAuthors
from replica.status import metrics
from service_kit.process.rates import Rate
from tests.support.builders import a_state, a_tombstone, an_event
from tests.support.content import People, people_of
from tests.support.erasing import NOTHING, Content, Left, written_as_a_request
from tests.support.eventually import eventually
from tests.support.inbox import consuming, everything, is_at
from tests.support.locks import until_waiting
from tests.support.log_ids import assert_has_ids
from tests.support.parked_messages import a_delivery, park_deliveries
from tests.support.reconciling import Pair
from tests.support.source import Source


@pytest.fixture
def blog_settings(blog_settings: BlogApiSettings) -> BlogApiSettings:
    unlimited = dict.fromkeys(("limit_posts", "limit_comments"), Rate(10**6, 1))
    return blog_settings.model_copy(update=unlimited)


@pytest.fixture
def content(blog_engine: AsyncEngine) -> Content:
    return Content(blog_engine)


BOTH: tuple[DeletedAuthors, ...] = ("remove", "keep")


class TestTheNote:
    """Every way of writing a tombstone marks its content for erasure."""

    async def test_an_event_marks_the_user_for_erasure(self, content: Content) -> None:
        nothing, provisional, living, tombstone = (uuid4() for _ in range(4))
        async with content.engine.begin() as connection:
            await USERS.provide(connection, provisional)
        await content.apply(a_state(living, 1), a_tombstone(tombstone, 1))
        await content.sweep_all()
        for user_id in (nothing, provisional, living, tombstone):
            await content.apply(a_tombstone(user_id, 2))
            assert await content.note(user_id) == "deleted"

    async def test_an_event_without_effect_marks_nobody(self, content: Content) -> None:
        """A repeated tombstone or a late state starts no second sweep; living users need none."""
        user_id, state = uuid4(), a_state(version=1)
        await content.apply(a_tombstone(user_id, 5), state)
        await content.sweep_all()
        for data in (a_tombstone(user_id, 5), a_state(user_id, 9), a_state(state.id, 2)):
            await content.apply(data)
            assert await content.note(data.id) is None
        assert await content.sweep_all() == 0

    async def test_the_sources_tombstone_takes_an_orphans_place(self, content: Content) -> None:
        """The user then counts as deleted, without waiting a week."""
        state = a_state(version=1)
        await content.apply(state)
        await content.bury(state.id)
        before = await content.note(state.id)
        await content.apply(a_tombstone(state.id, 3))
        assert (before, await content.note(state.id)) == ("orphan", "deleted")


class TestDeletedUsers:
    """A deleted user's content under each setting."""

    async def test_with_remove_the_users_content_alone_goes(self, content: Content) -> None:
        """Profile, posts and comments, and other users' comments on the posts."""
        ada, grace = await content.user(), await content.user()
        adas, graces = await content.post(ada), await content.post(grace)
        for author in (ada, grace):
            for post in (adas, graces):
                await content.comments(author, post, 3)
        await content.delete(ada)

        await content.sweep_all()

        assert await content.left(ada) == NOTHING
        assert await content.left(grace) == Left(profiles=1, posts=1, comments=3, noted=0)
        assert await content.posts() == {graces: False}
        assert await content.fetch("SELECT 1 FROM comments WHERE post_id = :id", id=adas) == []

    async def test_with_keep_only_the_profile_goes(self, content: Content) -> None:
        ada, grace = await content.user(), await content.user()
        post = await content.post(ada)
        await content.comments(ada, post, 2)
        await content.comments(grace, post, 2)
        await content.delete(ada)
        await content.sweep_all("keep")
        assert await content.left(ada) == Left(profiles=0, posts=1, comments=2, noted=0)
        assert await content.left(grace) == Left(profiles=1, posts=0, comments=2, noted=0)

    async def test_the_setting_can_be_changed_to_remove_later(self, content: Content) -> None:
        """From keep to remove: the runbook's statement erases everything that was kept."""
        ada, orphan = await content.user(), await content.user()
        await content.comments(ada, await content.post(ada), 2)
        await content.delete(ada)
        await content.bury(orphan)
        await content.sweep_all("keep")

        swept = "deleted_at IS NOT NULL AND sweep IS NULL"
        await content.execute(f"UPDATE users SET sweep = 'deleted' WHERE {swept}")
        await content.sweep_all("remove")

        assert await content.left(ada) == NOTHING
        assert await content.note(orphan) == "orphan"

    @pytest.mark.parametrize("deleted_authors", BOTH)
    async def test_nothing_personal_is_left_in_any_table(
        self, people: People, content: Content, deleted_authors: DeletedAuthors
    ) -> None:
        grace, ada = await people.user(), await people.user(email="ada@example.org")
        profile = {"display_name": "Ada Lovelace", "bio": "writes programs"}
        await people.done(ada, "PATCH", "/v1/me", profile)
        for post in (await people.post(ada, **A_POST), await people.post(grace)):
            await people.comment(ada, post, "I quite agree")
        await people.keep(ada, None, **A_POST)
        kept = (await people.keep(ada, None, **A_POST)).json()
        await people.done(ada, "DELETE", f"/v1/posts/{kept['id']}")
        parked = an_event(a_state(ada, 7, email="ada@example.org"))
        await park_deliveries(content.engine, a_delivery(parked))
        words = {"ada@example.org", "Ada Lovelace", "writes programs"}
        if deleted_authors == "remove":
            words |= {*A_POST.values(), "I quite agree"}
        before = await found(content, words)

        await content.delete(ada)
        await content.sweep_all(deleted_authors)

        assert before == words
        assert await found(content, words) == set()
        assert await content.count("posts") == (1 if deleted_authors == "remove" else 3)


async def found(content: Content, words: set[str]) -> set[str]:
    """Return the words that any table contains, as text, in JSON or as bytes."""
    rows = await everything(content.engine)
    return {word for word in words if word in rows or word.encode().hex() in rows}


class TestDeletedPosts:
    """A deleted post's comments are erased; its row goes with its author."""

    async def test_the_comments_on_a_deleted_post_go(self, content: Content) -> None:
        for deleted_authors in BOTH:
            ada, grace = await content.user(), await content.user()
            gone, there = await content.deleted_post(ada), await content.post(ada)
            for post in (gone, there):
                await content.comments(grace, post, 5)
            await content.sweep_all(deleted_authors)
            assert (await content.posts()).items() >= {gone: False, there: False}.items()
            assert await content.left(grace) == Left(profiles=1, posts=0, comments=5, noted=0)

    async def test_the_empty_row_of_a_deleted_post_stays(self, content: Content) -> None:
        """Otherwise a service would create it again; it goes when its author is deleted."""
        ada = await content.user()
        own, kept = [await content.deleted_post(ada, service) for service in (None, "svc_feed")]
        for post in (own, kept):
            await content.comments(ada, post, 5)

        await content.sweep_all()
        while_they_live = await content.posts()
        rounds_more = await content.sweep_all()
        await content.delete(ada)
        await content.sweep_all()

        assert (while_they_live, rounds_more) == ({own: False, kept: False}, 0)
        assert await content.posts() == {}

    async def test_an_unswept_post_goes_with_its_deleted_author(self, content: Content) -> None:
        ada, grace = await content.user(), await content.user()
        await content.comments(grace, await content.deleted_post(ada, "svc_feed"), 2)
        await content.delete(ada)
        await content.sweep_all()
        assert await content.posts() == {}
        assert await content.left(ada) == NOTHING


class TestOrphans:
    """Users unknown to the source: hidden at once, erased after a week."""

    @pytest.mark.parametrize("deleted_authors", BOTH)
    async def test_an_orphans_content_is_hidden_at_once_and_erased_after_a_week(
        self, people: People, content: Content, deleted_authors: DeletedAuthors
    ) -> None:
        orphan = await content.user()
        await content.comments(orphan, await content.post(orphan))
        await content.bury(orphan)
        settings = people.settings.model_copy(update={"deleted_authors": deleted_authors})
        async with people_of(settings, people.key) as readers:
            shown = await readers.titles()

        async def due(minutes: int) -> int:
            """Let the orphan be as many minutes older than a week; count what is due."""
            await content.execute(
                f"UPDATE users SET deleted_at = now() - interval '{ORPHAN_DAYS} d {minutes} min'"
                " WHERE deleted_at IS NOT NULL"
            )
            async with content.engine.connect() as connection:
                return await count_due(connection)

        assert shown == []
        assert await content.sweep_all(deleted_authors) == 0
        assert await due(-1) == 0
        assert await content.sweep_all(deleted_authors) == 0
        assert await content.left(orphan) == Left(profiles=1, posts=1, comments=1, noted=1)
        assert await due(+1) == 1
        await content.sweep_all(deleted_authors)
        assert await content.left(orphan) == NOTHING

    async def test_within_a_week_a_wrongly_deleted_orphan_can_be_restored(self, pair: Pair) -> None:
        """After a comparison with a restored source, the user and their posts can be restored."""
        blog = Content(pair.blog)
        [user_id] = [UUID(each) for each in await pair.ids("email = 'user1@example.org'", 1)]
        post = await blog.post(user_id)
        await blog.bury(user_id, 1700000000000001)
        await blog.sweep_all()

        await pair.damage("DELETE FROM users WHERE sweep = 'orphan'")
        run = await pair.reconcile(repair=True)
        await blog.sweep_all()

        assert run.repaired == {"missing": 1}
        assert await blog.posts() == {post: False}
        assert await blog.left(user_id) == Left(0, posts=1, comments=0, noted=0)


class TestLost:
    """The state of the tables drives it, so no message is needed."""

    async def test_every_tombstone_that_a_repair_writes_is_swept(self, pair: Pair) -> None:
        """A deletion was lost, a deleted row lost while its user wrote on, or its time changed."""
        blog = Content(pair.blog)
        tombstones = [UUID(each) for each in await pair.ids("deleted_at IS NOT NULL", 3)]
        undeleted, removed, changed = tombstones
        await blog.comments(undeleted, await blog.post(undeleted), 3)
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
        notes = [await blog.note(user_id) for user_id in tombstones]
        await blog.sweep_all()

        # What was changed is written under the other guard, first as a user who is alive.
        assert run.repaired == {"corrupt": 1, "undeleted": 2}
        assert notes == ["deleted"] * 3
        assert [await blog.left(user_id) for user_id in tombstones] == [NOTHING] * 3
        assert await pair.agrees()

    async def test_a_provisional_orphan_goes_with_all_content(self, pair: Pair) -> None:
        """Without a tombstone: the posts and the comments on them go with the row."""
        blog = Content(pair.blog)
        stranger, reader = uuid4(), await blog.user()
        async with pair.blog.begin() as connection:
            await USERS.provide(connection, stranger)
        post = await blog.post(stranger)
        await blog.comments(stranger, post)
        await blog.comments(reader, post)
        await blog.execute(f"INSERT INTO profiles (user_id) VALUES ('{stranger}')")
        await blog.comments(reader)

        await pair.reconcile(orphans=True, deletions_max=1)

        assert await blog.left(stranger) == NOTHING
        assert await blog.posts() == {}
        assert (await blog.left(reader)).comments == 1
        assert await blog.fetch("SELECT 1 FROM users WHERE id = :id", id=stranger) == []


class TestAtOnce:
    """Consumers, writers and operators work concurrently."""

    async def test_several_sweepers_share_the_work(
        self, content: Content, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each row is erased once, no user is missed, and no lock is waited for."""
        monkeypatch.setattr(model, "ROWS_MAX", 20)
        users = [await content.user() for _ in range(10)]
        for user in users:
            post = await content.post(user)
            for commenter in users:
                await content.comments(commenter, post, 2)
        before = erased()
        await content.delete(*users)

        async def rounds() -> None:
            while await content.count("users WHERE sweep IS NOT NULL"):
                await sweep(content.engine, "remove")

        await asyncio.gather(*(rounds() for _ in range(4)))
        await content.sweep_all()

        assert await content.left() == NOTHING
        assert erased() == {kind: before[kind] + n for kind, n in EXPECTED.items()}

    async def test_no_round_begins_during_another(self, content: Content) -> None:
        """Two rounds at once would only wait for each other."""
        await content.delete(await content.user())
        async with content.engine.begin() as connection:
            await connection.execute(sweeping._BEGIN, {"key": sweeping.LOCK_KEY})
            meanwhile = await sweep(content.engine, "remove")
        after = await sweep(content.engine, "remove")
        assert (meanwhile.made_progress, after.profiles) == (False, 1)

    async def test_locked_rows_are_skipped(self, content: Content) -> None:
        """Locked rows are left to the next round; until then the user is not marked as swept."""
        for held in (
            "SELECT 1 FROM comments WHERE body LIKE '% 7' FOR UPDATE",
            "SELECT 1 FROM posts FOR SHARE",
            "SELECT 1 FROM users WHERE sweep IS NOT NULL FOR SHARE",
        ):
            user = await content.user()
            await content.comments(user, await content.post(user), 10)
            await content.delete(user)

            async with content.engine.begin() as connection:
                await connection.execute(text(held))
                async with asyncio.timeout(1.5):  # under the time for which a lock is waited for
                    await content.sweep_all()
                assert (await content.left(user)).noted == 1, held
            await content.sweep_all()

            assert await content.left(user) == NOTHING

    async def test_content_written_before_the_tombstone_is_swept(self, content: Content) -> None:
        """The tombstone waits for a writing request, so the sweep sees its content."""
        user = await content.user()
        async with content.engine.connect() as writing:
            await written_as_a_request(writing, user)
            deleting = asyncio.create_task(content.delete(user))
            await until_waiting(content.engine)
            too_early = await content.sweep_all()
            await writing.commit()
            await deleting

        await content.sweep_all()

        assert too_early == 0
        assert await content.left(user) == NOTHING

    async def test_no_race_leaves_content_of_a_deleted_user(
        self, people: People, content: Content
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

        async with content.kept_swept():
            async with asyncio.TaskGroup() as writing:
                for user in users:
                    writing.create_task(write(user))
                await eventually(lambda: len(written) == len(users))
                for user in users:
                    await people.apply(a_tombstone(user))
            await eventually(content.is_swept)

        assert await content.posts() == {}


A_POST = {"title": "On engines", "body": "They might compose music"}
A_COMMENT = {"body": "I quite agree"}


EXPECTED = {"profile": 10, "post": 10, "comment": 200}


def erased() -> dict[str, float]:
    name = "usersync_sweep_erased_rows_total"
    return {kind: REGISTRY.get_sample_value(name, {"kind": kind}) or 0 for kind in EXPECTED}


class TestMuch:
    """With much content, transactions stay short and live events are applied."""

    async def test_no_transaction_erases_more_than_the_maximum_of_rows(
        self, content: Content
    ) -> None:
        ada, grace = await content.user(), await content.user()
        for _ in range(150):
            await content.post(ada)
        await content.comments(ada, count=3_500)
        await content.comments(grace, await content.deleted_post(grace), 2_500)
        await content.execute(*COUNTING)
        await content.delete(ada)

        rounds = await content.sweep_all()

        erased = await content.fetch("SELECT sum(rows) AS rows FROM erasures GROUP BY transaction")
        assert await content.left(ada) == NOTHING
        assert max(row.rows for row in erased) == ROWS_MAX
        # Of each post the text goes first, and then the row.
        assert sum(row.rows for row in erased) == 3_500 + 2_500 + 1 + 2 * 150 + 1
        assert rounds <= 8

    @pytest.mark.slow
    async def test_a_hundred_thousand_comments_delay_no_live_event(
        self, content: Content, consumer_settings: ConsumerSettings, source: Source
    ) -> None:
        """Events of others, and late ones of this user, are applied meanwhile."""
        ada = await content.user()
        await content.comments(ada, count=100_000)
        await content.delete(ada)
        took: list[float] = []
        async with consuming(consumer_settings, content.engine):
            before = tombstoned()
            async with content.kept_swept():
                while await content.count("comments"):
                    state = a_state()
                    began = perf_counter()
                    await source.publish(an_event(a_state(ada, 9)), an_event(state))
                    await eventually(partial(is_at, content.engine, state.id, 1), every=0.002)
                    await eventually(partial(has_tombstoned, before + len(took) + 1), every=0.002)
                    took.append(perf_counter() - began)
                await eventually(content.is_swept)

        took.sort()
        assert len(took) >= 20
        assert took[len(took) // 2] < 0.5
        assert took[-1] < consumer_settings.lock_timeout_ms / 1000, "a row was held for too long"

    async def test_tombstones_of_a_new_replica_are_swept_quickly(self, content: Content) -> None:
        await content.apply(*(a_tombstone() for _ in range(1_000)))
        rounds = await content.sweep_all()
        assert rounds <= 1_000 / model.USERS_MAX
        assert await content.left() == NOTHING


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
        self, content: Content, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fail(*_: Any) -> None:
            raise RuntimeError

        monkeypatch.setattr(sweeping, "LOOK_EVERY_SECONDS", 0.01)
        user = await content.user()
        await content.delete(user)
        await content.execute("ALTER TABLE profiles RENAME TO gone")
        with capture_logs() as logs:
            async with content.kept_swept():
                await eventually(lambda: "erasure.database_away" in [log["event"] for log in logs])
                with monkeypatch.context() as ours:
                    ours.setattr(sweeping, "sweep", fail)
                    await eventually(lambda: "erasure.unexpected" in [log["event"] for log in logs])
                await content.execute("ALTER TABLE gone RENAME TO profiles")
                await eventually(lambda: content.is_swept(user))

    async def test_a_slow_sweep_is_logged_by_id_alone(
        self, content: Content, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(model, "ROWS_MAX", 20)
        monkeypatch.setattr(model, "SLOW_SECONDS", 0.0)
        ada, grace = await content.user(), await content.user()
        await content.comments(ada, count=30)
        post = await content.deleted_post(grace)
        await content.comments(grace, post, 30)
        await content.delete(ada, uuid4())
        with capture_logs() as logs:
            async with content.kept_swept():
                await eventually(lambda: len(logs) == 2)

        told = [{name: log[name] for name in log if name.endswith("_id")} for log in logs]
        assert {log["event"] for log in logs} == {"erasure.slow"}
        assert_has_ids(logs[:1], "erasure.slow")
        assert told == [{"user_id": str(ada)}, {"post_id": str(post)}]

    async def test_the_setting_is_the_consumers(self, content: Content) -> None:
        user = await content.user()
        await content.post(user)
        await content.delete(user)

        async def has_no_note() -> bool:
            return await content.note(user) is None

        async with content.kept_swept(deleted_authors="keep"):
            await eventually(has_no_note)
        assert await content.left(user) == Left(profiles=0, posts=1, comments=0, noted=0)

    async def test_the_due_erasures_are_a_metric(self, content: Content) -> None:
        ada, grace = await content.user(), await content.user()
        await content.deleted_post(grace)
        await content.delete(ada)
        await metrics.refresh(USERS, content.engine)
        due = REGISTRY.get_sample_value("usersync_sweep_due")
        await content.sweep_all()
        await metrics.refresh(USERS, content.engine)
        assert (due, REGISTRY.get_sample_value("usersync_sweep_due")) == (2, 0)
