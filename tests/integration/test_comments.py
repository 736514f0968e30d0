"""Test comments: who may write, change and delete them, and what readers see."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from blog_service.authorization import reach_values
from blog_service.comments.change import UPDATE
from blog_service.comments.delete import DELETE
from blog_service.comments.read import page_sql
from blog_service.limits import SECONDS_LEFT
from blog_service.policy import Action
from replica.actors import User
from tests.support.auth_api import assert_problem, statuses
from tests.support.builders import a_state, a_tombstone
from tests.support.content import People, disturbed, driver_sql
from tests.support.in_turn import in_turn
from tests.support.inbox import execute, fetch
from tests.support.locks import after_waiting, until_waiting


class TestWriting:
    """``POST /v1/posts/{id}/comments``."""

    async def test_what_was_written_is_there_for_everybody(self, people: People) -> None:
        ada, eve = await people.user(), await people.user()
        await people.done(eve, "PATCH", "/v1/me", {"display_name": "Eve"})
        post = await people.post(ada)

        written = await people.comment(eve, post, "So\nit is")

        author = {"id": str(eve), "display_name": "Eve", "avatar_url": None, "status": "active"}
        expected = {"post_id": post["id"], "author": author, "body": "So\nit is"}
        assert expected.items() <= written.items()
        others = {"id", "created_at", "updated_at", "body_html"}
        assert written.keys() - expected.keys() == others
        page = await people.done(None, "GET", f"/v1/posts/{post['id']}/comments")
        assert page == {"items": [written], "next_cursor": None}

    @in_turn(
        "body", [{}, {"body": ""}, {"body": "x" * 5001}, {"body": "\x00"}, {"body": "x", "id": 1}]
    )
    async def test_texts_that_break_a_rule_are_refused(
        self, people: People, body: dict[str, Any]
    ) -> None:
        post = await people.post(await people.user())
        eve = await people.user()
        answer = await people.ask(eve, "POST", f"/v1/posts/{post['id']}/comments", body)
        assert_problem(answer, 422, "invalid_request")
        assert await people.comments(post) == []

    async def test_without_a_token_or_while_disabled(self, people: People) -> None:
        post, eve = await people.post(await people.user()), await people.user()
        written = f"/v1/comments/{(await people.comment(eve, post))['id']}"
        await people.apply(a_state(eve, 2, status="disabled"))
        path = f"/v1/posts/{post['id']}/comments"
        for who, method, where, body, status, code in [
            (None, "POST", path, {"body": "x"}, 401, "authentication_required"),
            (eve, "POST", path, {"body": "x"}, 403, "account_disabled"),
            (eve, "DELETE", written, None, 403, "account_disabled"),
        ]:
            assert_problem(await people.ask(who, method, where, body), status, code)
        assert await people.comments(post) == ["Indeed"]


class TestUnseenPosts:
    """The comments of a hidden post do not reveal it."""

    async def test_every_response_about_a_hidden_post_is_404(self, people: People) -> None:
        """One that is unknown, deleted, of a deleted author, or of nobody."""
        hidden = [(str(uuid4()), str(uuid4()))]
        for hide in ("deleted", "of a deleted author", "of nobody"):
            ada = await people.user()
            post = await people.post(ada)
            hidden.append((post["id"], (await people.comment(await people.user(), post))["id"]))
            if hide == "deleted":
                await people.done(ada, "DELETE", f"/v1/posts/{post['id']}")
            elif hide == "of a deleted author":
                await people.apply(a_tombstone(ada))
            else:
                await execute(people.engine, f"DELETE FROM users WHERE id = '{ada}'")
        mod = await people.user(roles=("moderator",))

        for post_id, comment_id in hidden:
            path, comment = f"/v1/posts/{post_id}/comments", f"/v1/comments/{comment_id}"
            for who in (None, await people.user(), mod):
                asked: list[tuple[str, str, Any]] = [("GET", path, None)]
                if who is not None:
                    asked += [("POST", path, {"body": "x"}), ("PATCH", comment, {"body": "x"})]
                    asked += [("DELETE", comment, None)]
                for method, where, body in asked:
                    answer = await people.ask(who, method, where, body)
                    shown = assert_problem(answer, 404, "not_found")
                    assert shown.keys() == {"type", "title", "status", "code", "instance"}

    async def test_deleting_a_post_hides_its_comments_at_once(self, people: People) -> None:
        """They are erased later; the deletion marks the post for that."""
        ada = await people.user()
        post = await people.post(ada)
        await people.comment(ada, post)
        await people.done(ada, "DELETE", f"/v1/posts/{post['id']}")
        answer = await people.ask(None, "GET", f"/v1/posts/{post['id']}/comments")
        assert_problem(answer, 404, "not_found")
        assert len(await fetch(people.engine, "SELECT 1 FROM comments")) == 1
        assert len(await fetch(people.engine, "SELECT 1 FROM posts WHERE sweep")) == 1

    async def test_no_comment_is_added_to_a_post_deleted_meanwhile(self, people: People) -> None:
        """The comment waits for the deletion and gets 404."""
        ada, eve = await people.user(), await people.user()
        post = await people.post(ada)
        write = people.ask(eve, "POST", f"/v1/posts/{post['id']}/comments", {"body": "x"})
        delete = "UPDATE posts SET title = NULL, body = NULL, deleted_at = now(), sweep = true"
        assert_problem(await after_waiting(people.engine, write, delete), 404, "not_found")
        assert await fetch(people.engine, "SELECT 1 FROM comments") == []

    async def test_a_deletion_waits_for_a_comment_that_has_locked_the_post(
        self, people: People
    ) -> None:
        """So the erasure after the deletion finds the comment."""
        ada, eve = await people.user(), await people.user()
        post = await people.post(ada)
        async with people.engine.begin() as blocking:
            # The comment is at its last step: its post is held, its row not in yet.
            await blocking.execute(text("LOCK TABLE comments IN EXCLUSIVE MODE"))
            write = people.ask(eve, "POST", f"/v1/posts/{post['id']}/comments", {"body": "x"})
            writing = asyncio.create_task(write)
            await until_waiting(people.engine)
            deleting = asyncio.create_task(people.ask(ada, "DELETE", f"/v1/posts/{post['id']}"))
            await until_waiting(people.engine, 2)
            assert not deleting.done()

        assert await statuses(writing, deleting) == [201, 204]


class TestChanging:
    """``PATCH`` and ``DELETE /v1/comments/{id}``."""

    async def test_its_author_moderators_and_administrators_may(self, people: People) -> None:
        author = await people.user()
        post = await people.post(await people.user())
        others = [await people.user(roles=(role,)) for role in ("moderator", "admin")]
        for who in (author, *others):
            comment = await people.comment(author, post)
            path = f"/v1/comments/{comment['id']}"
            changed = await people.done(who, "PATCH", path, {"body": "Changed"})
            text = {"body": "Changed", "body_html": "<p>Changed</p>\n"}
            assert changed == comment | text | {"updated_at": changed["updated_at"]}
            assert changed["updated_at"] > comment["updated_at"]
            for same in ({}, {"body": None}, {"body": "Changed"}):
                assert await people.done(who, "PATCH", path, same) == changed
            await people.done(who, "DELETE", path)
            assert_problem(await people.ask(who, "DELETE", path), 404, "not_found")
        assert await fetch(people.engine, "SELECT 1 FROM comments") == []

    async def test_others_may_not_and_neither_may_the_posts_author(self, people: People) -> None:
        ada, eve = await people.user(), await people.user()
        post = await people.post(ada)
        path = f"/v1/comments/{(await people.comment(eve, post))['id']}"
        for who in (ada, await people.user(roles=("operator",))):
            assert_problem(await people.ask(who, "PATCH", path, {"body": "x"}), 403, "forbidden")
            assert_problem(await people.ask(who, "DELETE", path), 403, "forbidden")
        assert await people.comments(post) == ["Indeed"]

    async def test_the_statement_itself_cannot_change_comments_of_others(
        self, people: People
    ) -> None:
        """The condition in the statement protects even if the check before it were wrong."""
        post = await people.post(await people.user())
        comment = await people.comment(await people.user(), post)
        stranger = User(id=uuid4(), roles=(), status="active")
        values = {"id": UUID(comment["id"])}
        change = values | {"body": "x"} | reach_values(stranger, Action.CHANGE_COMMENT)
        delete = values | reach_values(stranger, Action.DELETE_COMMENT)
        assert await people.rows_changed(UPDATE, change) == 0
        assert await people.rows_changed(DELETE, delete) == 0


class TestPages:
    """``GET /v1/posts/{id}/comments`` by cursor."""

    async def test_oldest_first(self, people: People) -> None:
        ada = await people.user()
        post, other = await people.post(ada), await people.post(ada)
        for number in range(7):
            await people.comment(ada, post, f"{number}")
            await people.comment(ada, other, "elsewhere")
        pages = people.pages(f"/v1/posts/{post['id']}/comments", limit=3)
        bodies = [[item["body"] for item in page] async for page in pages]
        assert bodies == [["0", "1", "2"], ["3", "4", "5"], ["6"]]

    async def test_an_empty_last_page_is_returned(self, people: People) -> None:
        """The post still exists, although no comment is left after the cursor."""
        ada = await people.user()
        post = await people.post(ada)
        comments = [await people.comment(ada, post) for _ in range(2)]
        path = f"/v1/posts/{post['id']}/comments"
        first = await people.done(None, "GET", path, limit=1)
        await people.done(ada, "DELETE", f"/v1/comments/{comments[1]['id']}")
        page = await people.done(None, "GET", path, cursor=first["next_cursor"])
        assert page == {"items": [], "next_cursor": None}

    async def test_pages_stay_correct_during_concurrent_writes_and_deletions(
        self, people: People
    ) -> None:
        ada = await people.user()
        post = await people.post(ada)
        await insert_comments(people, post, ada, 200)
        values = f"VALUES ('{post['id']}', '{ada}', 'new')"
        insert = f"INSERT INTO comments (post_id, author_id, body) {values}"
        delete = (
            "DELETE FROM comments WHERE id = (SELECT id FROM comments WHERE body <> 'new'"
            " AND position % 3 = :number ORDER BY random() LIMIT 1) RETURNING body"
        )
        pages = people.pages(f"/v1/posts/{post['id']}/comments", limit=7)
        async with disturbed(people.engine, insert, delete) as deleted:
            # The writers may add comments faster than pages of seven are read.
            seen = [item for _ in range(30) for item in await anext(pages, [])]

        assert len({item["id"] for item in seen}) == len(seen)
        old = {f"old {number}" for number in range(1, 201)}
        assert len(old - deleted) > 20
        assert old - deleted <= {item["body"] for item in seen}

    async def test_pages_and_limits_follow_an_index(self, people: People) -> None:
        """The generic plan neither sorts nor scans a table."""
        ada = await people.user()
        posts = [await people.post(ada) for _ in range(3)]
        for post in posts:
            await insert_comments(people, post, ada, 1000)
        counting = driver_sql(SECONDS_LEFT["comments"], "seconds", "author_id", "quota")
        of_post, backward = f"'{posts[0]['id']}', 50", " Backward using comments_author_id_idx"
        for index, kinds, statement, values in [
            (" using comments_post_id_idx", "uuid, bigint", page_sql("remove", 21), of_post),
            (" using comments_post_id_idx", "uuid, bigint", page_sql("keep", 21), of_post),
            (backward, "integer, uuid, integer", counting, f"60, '{ada}', 10"),
        ]:
            plan = await people.plan(kinds, statement, values)
            assert "Sort" not in plan
            assert "Seq Scan on comments" not in plan
            assert f"Index Scan{index}" in plan


async def insert_comments(people: People, post: dict[str, Any], author: UUID, count: int) -> None:
    """Insert comments without the API, past its limit."""
    await execute(
        people.engine,
        f"INSERT INTO comments (post_id, author_id, body) SELECT '{post['id']}', '{author}',"
        f" 'old ' || n FROM generate_series(1, {count}) AS n",
    )
