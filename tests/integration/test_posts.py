"""Test posts: who may write, change and delete them, and what readers see."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import text

from blog_service.authorization import reach_values
from blog_service.limits import SECONDS_LEFT
from blog_service.policy import Action, Actor
from blog_service.posts.change import UPDATE
from blog_service.posts.delete import DELETE
from blog_service.posts.read import page_sql
from blog_service.replica_of_users import USERS
from blog_service.settings import ApiSettings
from contracts.events import RevokedKey
from contracts.tokens.keys import jwk
from replica.actors import Service, User
from service_kit.process.rates import Rate
from tests.support.auth_api import assert_problem
from tests.support.builders import NOON, a_state, a_tombstone
from tests.support.content import IMPORTER, People, disturbed, driver_sql, people_of
from tests.support.erasing import Content
from tests.support.eventually import eventually
from tests.support.in_turn import in_turn
from tests.support.inbox import execute, fetch, replica
from tests.support.locks import after_waiting, until_waiting

GONE = {"id": None, "display_name": "deleted user", "avatar_url": None, "status": "deleted"}
A_POST: dict[str, Any] = {"title": "x", "body": "y"}
BAD_TITLES = ("", "x" * 201, "two\nlines", "\u202eevil", "\u200b")
HOSTILE = "<script>alert('x')</script> \"onload='y' & \\u0000 ${7*7} {{7*7}} ');DROP TABLE posts;--"


class TestWriting:
    """``POST /v1/posts``."""

    async def test_what_was_written_is_there_for_everybody(self, people: People) -> None:
        ada = await people.user()

        written = await people.post(ada, "Engines", "Of the\nfirst kind")

        author = {"id": str(ada), "display_name": None, "avatar_url": None, "status": "active"}
        expected = {"author": author, "title": "Engines", "body": "Of the\nfirst kind"}
        assert expected.items() <= written.items()
        others = {"id", "created_at", "updated_at", "excerpt", "body_html"}
        assert written.keys() - expected.keys() == others
        assert written["excerpt"] == "Of the first kind"
        assert written["body_html"] == "<p>Of the<br>\nfirst kind</p>\n"
        assert written["created_at"] == written["updated_at"]
        assert written["created_at"].endswith("Z")
        assert await people.done(None, "GET", f"/v1/posts/{written['id']}") == written
        page = await people.done(None, "GET", "/v1/posts")
        del written["body_html"]  # would be much to render for a list
        assert page == {"items": [written], "next_cursor": None}

    async def test_without_a_token_nobody_writes(self, people: People) -> None:
        post = f"/v1/posts/{(await people.post(await people.user()))['id']}"
        asked = [("POST", "/v1/posts"), ("PUT", post), ("PATCH", post), ("DELETE", post)]
        for method, path in asked:
            answer = await people.ask(None, method, path, None if method == "DELETE" else A_POST)
            assert_problem(answer, 401, "authentication_required")

    async def test_users_write_only_as_themselves(self, people: People) -> None:
        """They cannot name an author, not even themselves: the token identifies the author."""
        ada, eve = await people.user(), await people.user()
        for author in (ada, eve):
            answer = await people.ask(eve, "POST", "/v1/posts", A_POST | {"author_id": str(author)})
            refused = assert_problem(answer, 422, "invalid_request")
            assert [error["pointer"] for error in refused["errors"]] == ["/body/author_id"]
        assert await people.titles() == []

    async def test_a_provisional_user_writes_before_the_event_arrives(self, people: People) -> None:
        """The event changes nothing in posts and comments, even if it comes twice or late."""
        user_id = uuid4()

        post = await people.post(user_id)
        comment = await people.comment(user_id, post)
        lists = ("/v1/posts", f"/v1/posts/{post['id']}/comments")
        assert post["author"] == comment["author"]
        assert post["author"]["status"] == "provisional"
        for versions in [(2,), (2,), (1,), (3, 1, 2)]:
            await people.apply(*(a_state(user_id, version) for version in versions))
            seen = await people.done(None, "GET", f"/v1/posts/{post['id']}")
            assert seen["author"] == post["author"] | {"status": "active"}
        await people.done(user_id, "PATCH", "/v1/me", {"display_name": "Ada"})

        for path in lists:
            [seen] = (await people.done(None, "GET", path))["items"]
            assert seen["author"] == post["author"] | {"status": "active", "display_name": "Ada"}
        assert await people.post(user_id, "And another one")

    async def test_a_disabled_user_cannot_write_and_their_posts_stay(self, people: People) -> None:
        ada = await people.user()
        path = f"/v1/posts/{(await people.post(ada))['id']}"
        await people.apply(a_state(ada, 2, status="disabled"))

        for method, where, body in [
            ("POST", "/v1/posts", A_POST),
            ("PATCH", path, {"title": "x"}),
            ("DELETE", path, None),
        ]:
            assert_problem(await people.ask(ada, method, where, body), 403, "account_disabled")
        assert_problem(await people.keep(ada), 403, "account_disabled")
        assert (await people.done(None, "GET", path))["author"]["status"] == "disabled"
        await people.apply(a_state(ada, 3))
        assert await people.post(ada)

    @in_turn(
        "body",
        [
            *(A_POST | {"title": text} for text in BAD_TITLES),
            *(A_POST | {"body": text} for text in (None, "y" * 20_001, "a\x00b", "a\x1bb")),
            {"title": "x"},
            A_POST | {"deleted_at": None},
            {"title": ["x"], "body": {"y": 1}},
        ],
        ids=lambda body: ascii(body)[:40],
    )
    async def test_texts_that_break_a_rule_are_refused(
        self, people: People, body: dict[str, Any]
    ) -> None:
        ada = await people.user()
        post = await people.post(ada)
        for method, path in [("POST", "/v1/posts"), ("PATCH", f"/v1/posts/{post['id']}")]:
            if method == "PATCH" and (len(body) == 1 or body["body"] is None):
                continue  # what is missing or null stays
            assert_problem(await people.ask(ada, method, path, body), 422, "invalid_request")
        assert await people.done(None, "GET", f"/v1/posts/{post['id']}") == post

    async def test_hostile_texts_come_back_as_text(self, people: People) -> None:
        """The JSON is not mistaken for a page, and has exactly the text that was written."""
        ada = await people.user()
        title = HOSTILE[:200]
        await people.post(ada, title, HOSTILE)
        answer = await people.ask(None, "GET", "/v1/posts")
        [post] = answer.json()["items"]
        assert (post["title"], post["body"]) == (title, HOSTILE)
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


class TestLimit:
    """The limit of what one user may write."""

    @pytest.fixture
    def blog_settings(self, blog_settings: ApiSettings) -> ApiSettings:
        return blog_settings.model_copy(
            update={"limit_posts": Rate(3, 3600), "limit_comments": Rate(2, 3600)}
        )

    async def test_a_post_over_the_limit_gets_the_time_to_wait(self, people: People) -> None:
        ada, eve = await people.user(), await people.user()
        for _ in range(3):
            await people.post(ada)

        refused = await people.ask(ada, "POST", "/v1/posts", A_POST)

        assert_problem(refused, 429, "too_many_requests")
        assert refused.json()["violated-policies"] == ["posts"]
        assert 3590 < int(refused.headers["Retry-After"]) <= 3600
        assert refused.headers["RateLimit-Policy"] == '"posts";q=3;w=3600'
        assert await people.post(eve)
        for _ in range(5):
            assert (await people.keep(ada)).status_code == 201
        await execute(people.engine, "UPDATE posts SET created_at = now() - interval '1 hour'")
        assert await people.post(ada)

    async def test_deleting_makes_no_room_for_posts(self, people: People) -> None:
        """Deleted and swept posts count, or a user could write and delete without end."""
        ada = await people.user()
        for _ in range(3):
            post = await people.post(ada)
            await people.done(ada, "DELETE", f"/v1/posts/{post['id']}")
        await Content(people.engine).sweep_all()
        refused = await people.ask(ada, "POST", "/v1/posts", A_POST)
        assert_problem(refused, 429, "too_many_requests")

    async def test_concurrent_requests_cannot_exceed_the_limit(self, people: People) -> None:
        ada = await people.user()
        post = await people.post(await people.user())

        comments = f"/v1/posts/{post['id']}/comments"
        for policy, path, body, quota in [
            ("posts", "/v1/posts", A_POST, 3),
            ("comments", comments, {"body": "y"}, 2),
        ]:
            answers = await asyncio.gather(*(people.ask(ada, "POST", path, body) for _ in range(8)))
            refused = [answer for answer in answers if answer.status_code != 201]
            assert len(refused) == 8 - quota
            for answer in refused:
                problem = assert_problem(answer, 429, "too_many_requests")
                assert problem["violated-policies"] == [policy]
                assert 0 < int(answer.headers["Retry-After"]) <= 3600


class TestServices:
    """Services that write posts for authors."""

    async def test_it_names_the_author(self, people: People) -> None:
        """The post is shown under the author's name; a post without author is refused."""
        ada = await people.user()
        unnamed = await people.ask(IMPORTER, "POST", "/v1/posts", A_POST)
        written = await people.done(IMPORTER, "POST", "/v1/posts", A_POST | {"author_id": str(ada)})
        assert_problem(unnamed, 422, "invalid_request")
        assert written["author"]["id"] == str(ada)
        [post] = (await people.done(None, "GET", "/v1/posts", author=str(ada)))["items"]
        assert post.items() <= written.items()

    async def test_the_author_must_exist(self, people: People) -> None:
        unknown, deleted = uuid4(), uuid4()
        await people.apply(a_state(deleted), a_tombstone(deleted))
        for author in (unknown, deleted):
            body = A_POST | {"author_id": str(author)}
            written = await people.ask(IMPORTER, "POST", "/v1/posts", body)
            assert_problem(written, 422, "unknown_author")
            assert_problem(await people.keep(author), 422, "unknown_author")

    async def test_it_needs_the_scope(self, people: People) -> None:
        ada = await people.user()
        post = f"/v1/posts/{(await people.post(ada))['id']}"
        body = A_POST | {"author_id": str(ada)}
        asked: list[tuple[UUID | str, str, str, str]] = [
            (IMPORTER, "users:reconcile", "POST", "/v1/posts"),
            (IMPORTER, "users:reconcile", "PUT", f"/v1/posts/{uuid4()}"),
            (IMPORTER, "users:reconcile", "DELETE", post),
            (ada, "posts:write", "PUT", f"/v1/posts/{uuid4()}"),
        ]
        for who, scope, method, path in asked:
            json = None if method == "DELETE" else body
            headers = {"Authorization": f"Bearer {people.token(who, scope=scope)}"}
            answer = await people.client.request(method, path, json=json, headers=headers)
            assert_problem(answer, 403, "insufficient_scope")
            assert answer.headers["WWW-Authenticate"].endswith('scope="posts:write"')

    async def test_an_upsert_is_idempotent(self, people: People) -> None:
        ada, post_id = await people.user(), uuid4()

        new = await people.keep(ada, post_id)
        same = await people.keep(ada, post_id)
        other = await people.keep(ada, post_id, title="Changed")
        again = await people.keep(ada, post_id, title="Changed")

        assert [answer.status_code for answer in (new, same, other, again)] == [201, 200, 200, 200]
        first, changed = new.json(), other.json()
        assert first["body_html"] == "<p>By a service</p>\n"
        assert (first["id"], same.json(), again.json()) == (str(post_id), first, changed)
        assert changed["updated_at"] > first["updated_at"]
        assert await people.titles() == ["Changed"]

    async def test_concurrent_upserts_create_one_post(self, people: People) -> None:
        """An importer that is started twice creates no duplicate."""
        ada, post_id = await people.user(), uuid4()
        answers = await asyncio.gather(*(people.keep(ada, post_id) for _ in range(8)))
        assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
        assert await people.titles() == ["Kept"]

    async def test_a_service_cannot_change_posts_of_others(self, people: People) -> None:
        ada, eve = await people.user(), await people.user()
        written = UUID((await people.post(ada))["id"])
        kept, of_other = uuid4(), uuid4()
        await people.keep(ada, kept)
        await people.keep(ada, of_other, service="svc_other")
        before = await people.done(None, "GET", "/v1/posts")

        for answer in (
            await people.keep(ada, written),
            await people.keep(ada, of_other),
            await people.keep(eve, kept),
            await people.ask(IMPORTER, "PATCH", f"/v1/posts/{of_other}", {"title": "x"}),
            await people.ask(IMPORTER, "PATCH", f"/v1/posts/{written}", {"title": "x"}),
            await people.ask(IMPORTER, "DELETE", f"/v1/posts/{of_other}"),
            await people.ask(IMPORTER, "DELETE", f"/v1/posts/{written}"),
        ):
            assert_problem(answer, 403, "forbidden")
        assert await people.done(None, "GET", "/v1/posts") == before

    async def test_service_and_author_change_and_delete_its_posts(self, people: People) -> None:
        ada = await people.user()
        for who, title in ((IMPORTER, "By the service"), (ada, "By its author")):
            path = f"/v1/posts/{(await people.keep(ada)).json()['id']}"
            await people.done(who, "PATCH", path, {"title": title})
            assert await people.titles() == [title]
            await people.done(who, "DELETE", path)
            assert await people.titles() == []

    async def test_a_deleted_post_stays_deleted(self, people: People) -> None:
        """By author or service; a caller without rights gets the same response as before."""
        ada, post_id = await people.user(), uuid4()
        await people.keep(ada, post_id)
        await people.done(ada, "DELETE", f"/v1/posts/{post_id}")
        again = await people.keep(ada, post_id)
        by_other = await people.keep(ada, post_id, service="svc_other")
        assert_problem(again, 410, "post_deleted")
        assert_problem(by_other, 403, "forbidden")
        assert await people.titles() == []

    async def test_a_token_of_a_revoked_key_is_refused(
        self, people: People, signing_key: rsa.RSAPrivateKey
    ) -> None:
        """Like the token of a deleted user."""
        ada = await people.user()
        assert (await people.keep(ada)).status_code == 201
        kid = jwk(signing_key.public_key())["kid"]
        await people.apply(RevokedKey(kid=kid, revoked_at=NOON))
        assert_problem(await people.keep(ada), 401, "invalid_token")

    async def test_services_have_no_other_endpoints(self, people: People) -> None:
        """They have no profile, cannot comment and cannot use administration."""
        author = await people.user()
        post = await people.post(author)
        for method, path, body in [
            ("GET", "/v1/me", None),
            ("PATCH", "/v1/me", {"bio": "x"}),
            ("GET", "/v1/admin/users", None),
            ("POST", f"/v1/posts/{post['id']}/comments", {"body": "x"}),
        ]:
            answer = await people.ask(IMPORTER, method, path, body)
            assert_problem(answer, 403, "user_required")
        assert list(await replica(people.engine)) == [author]


class TestChanging:
    """``PATCH`` and ``DELETE /v1/posts/{id}``."""

    async def test_its_author_moderators_and_administrators_may(self, people: People) -> None:
        author = await people.user()
        others = [await people.user(roles=(role,)) for role in ("moderator", "admin")]
        for who in (author, *others):
            post = await people.post(author)
            path = f"/v1/posts/{post['id']}"
            changed = await people.done(who, "PATCH", path, {"title": "Changed"})
            assert changed == post | {"title": "Changed", "updated_at": changed["updated_at"]}
            assert changed["updated_at"] > post["updated_at"]
            for same in ({}, {"title": None}, {"title": "Changed"}):
                assert await people.done(who, "PATCH", path, same) == changed
            await people.done(who, "DELETE", path)
            for method in ("GET", "PATCH", "DELETE"):
                body = {"title": "x"} if method == "PATCH" else None
                assert_problem(await people.ask(who, method, path, body), 404, "not_found")
        assert await people.titles() == []

    async def test_others_may_not_change_what_they_can_see(self, people: People) -> None:
        post = await people.post(await people.user())
        path = f"/v1/posts/{post['id']}"
        for roles in ((), ("operator",), ("editor",)):
            eve = await people.user(roles=roles)
            assert_problem(await people.ask(eve, "PATCH", path, {"title": "x"}), 403, "forbidden")
            assert_problem(await people.ask(eve, "DELETE", path), 403, "forbidden")
        assert await people.done(None, "GET", path) == post

    async def test_a_demotion_applies_to_the_next_request(self, people: People) -> None:
        """The role comes from the replica's row, not from the token."""
        path = f"/v1/posts/{(await people.post(await people.user()))['id']}"
        mod = await people.user(roles=("moderator",))
        headers = {"Authorization": f"Bearer {people.token(mod, roles=['moderator'])}"}
        before = await people.client.patch(path, json={"title": "1"}, headers=headers)
        await people.apply(a_state(mod, 2))
        after = await people.client.patch(path, json={"title": "2"}, headers=headers)
        assert before.status_code == 200
        assert_problem(after, 403, "forbidden")

    async def test_a_demotion_between_check_and_change_counts(self, people: People) -> None:
        post = await people.post(await people.user())
        mod = await people.user(roles=("moderator",))
        change = people.ask(mod, "PATCH", f"/v1/posts/{post['id']}", {"title": "x"})
        demotion = f"UPDATE users SET roles = '{{}}', version = 2 WHERE id = '{mod}'"
        answer = await after_waiting(people.engine, change, demotion)
        assert_problem(answer, 403, "forbidden")

    async def test_a_deleted_post_leaves_no_text(self, people: People) -> None:
        ada = await people.user()
        post = await people.post(ada, "Secret", "Very secret")
        await people.done(ada, "DELETE", f"/v1/posts/{post['id']}")
        [row] = await fetch(people.engine, "SELECT * FROM posts")
        assert (str(row.id), row.title, row.body) == (post["id"], None, None)
        assert row.deleted_at is not None
        assert row.sweep

    async def test_of_two_concurrent_deletions_one_gets_404(self, people: People) -> None:
        ada = await people.user()
        path = f"/v1/posts/{(await people.post(ada))['id']}"
        answers = await asyncio.gather(*(people.ask(ada, "DELETE", path) for _ in range(6)))
        assert sorted(answer.status_code for answer in answers) == [204] + [404] * 5

    async def test_the_statement_itself_cannot_change_posts_of_others(self, people: People) -> None:
        """The condition in the statement protects even if the check before it were wrong."""
        ada = await people.user()
        post = await people.post(ada)
        strangers: list[Actor] = [
            User(id=uuid4(), roles=(), status="active"),
            User(id=ada, roles=("admin",), status="disabled"),
            Service(id="svc_other", scopes=frozenset({"posts:write"})),
            Service(id="svc_other", scopes=frozenset()),
        ]

        for who in strangers:
            values = {"id": UUID(post["id"])}
            change = values | A_POST | reach_values(who, Action.CHANGE_POST)
            delete = values | reach_values(who, Action.DELETE_POST)
            assert await people.rows_changed(UPDATE, change) == 0
            assert await people.rows_changed(DELETE, delete) == 0


class TestPages:
    """``GET /v1/posts`` by cursor."""

    async def test_newest_first(self, people: People) -> None:
        ada = await people.user()
        for number in range(7):
            await people.post(ada, f"{number}")
        assert [titles async for titles in titles_of(people, limit=3)] == [
            ["6", "5", "4"],
            ["3", "2", "1"],
            ["0"],
        ]

    async def test_a_page_has_twenty_posts_by_default(self, people: People) -> None:
        ada = await people.user()
        await insert_posts(people, ada, 101)
        assert len(await people.titles()) == 20
        assert len(await people.titles(limit=100)) == 100
        for limit in (0, 101, "x"):
            answer = await people.ask(None, "GET", "/v1/posts", limit=limit)
            assert_problem(answer, 422, "invalid_request")

    async def test_posts_of_one_author_come_in_pages(self, people: People) -> None:
        ada, eve = await people.user(), await people.user()
        for number in range(5):
            await people.post(ada, f"ada {number}")
            await people.post(eve, f"eve {number}")
        pages = [titles async for titles in titles_of(people, limit=2, author=str(ada))]
        assert pages == [["ada 4", "ada 3"], ["ada 2", "ada 1"], ["ada 0"]]
        assert await people.titles(author=str(uuid4())) == []

    @in_turn("cursor", ["x", "", "AAAAAAAAAAAAAAAAAAAAAA", "//////////8", "-1"])
    async def test_a_foreign_cursor_is_refused(self, people: People, cursor: str) -> None:
        answer = await people.ask(None, "GET", "/v1/posts", cursor=cursor)
        assert_problem(answer, 422, "invalid_request")

    async def test_pages_stay_correct_during_concurrent_writes_and_deletions(
        self, people: People
    ) -> None:
        ada = await people.user()
        await insert_posts(people, ada, 200)
        insert = (
            f"INSERT INTO posts (author_id, title, body) SELECT '{ada}', 'new', 'x'"
            " FROM generate_series(1, 3)"
        )
        delete = (
            "UPDATE posts SET title = NULL, body = NULL, deleted_at = now()"
            " WHERE id = (SELECT id FROM posts WHERE title <> 'new'"
            " AND position % 3 = :number ORDER BY random() LIMIT 1) RETURNING old.title"
        )
        async with disturbed(people.engine, insert, delete) as deleted:
            seen = [post async for page in people.pages("/v1/posts", limit=7) for post in page]

        titles = {post["title"] for post in seen}
        assert len({post["id"] for post in seen}) == len(seen)
        assert len(titles - {"new"}) > 50
        assert {f"Post {number}" for number in range(1, 201)} - deleted <= titles


class TestDeletedAuthors:
    """The posts of deleted users."""

    @pytest.fixture(params=["remove", "keep"])
    def choice(self, request: pytest.FixtureRequest) -> str:
        choice: str = request.param
        return choice

    @pytest.fixture
    def blog_settings(self, blog_settings: ApiSettings, choice: str) -> ApiSettings:
        return blog_settings.model_copy(update={"deleted_authors": choice})

    async def test_no_personal_data_is_shown_once_the_tombstone_is_applied(
        self, people: People, choice: str
    ) -> None:
        """Posts are removed or shown by "deleted user", without id, name, picture or profile."""
        ada, eve = await people.user(), await people.user()
        profile = {"display_name": "Ada", "bio": "x", "avatar_url": "https://img.example/ada"}
        await people.done(ada, "PATCH", "/v1/me", profile)
        post = await people.post(ada, "By Ada")
        await people.comment(eve, post, "By Eve")
        mine = await people.post(eve, "By Eve")
        await people.comment(ada, mine, "By Ada")
        path = f"/v1/posts/{post['id']}"

        await people.apply(a_tombstone(ada))

        theirs = f"/v1/posts/{mine['id']}/comments"
        paths = ("/v1/posts", path, f"{path}/comments", theirs, f"/v1/users/{ada}")
        answers = [await people.ask(None, "GET", each) for each in paths]
        answers.append(await people.ask(None, "GET", "/v1/posts", author=str(ada)))
        for answer in answers:
            assert str(ada) not in answer.text
            assert "img.example" not in answer.text
        assert answers[5].json()["items"] == []
        assert_problem(answers[4], 404, "not_found")
        comments = await people.comments(mine)
        if choice == "remove":
            assert await people.titles() == ["By Eve"]
            assert_problem(answers[1], 404, "not_found")
            assert_problem(answers[2], 404, "not_found")
            assert comments == []
        else:
            assert await people.titles() == ["By Eve", "By Ada"]
            assert answers[1].json() == post | {"author": GONE}
            assert await people.comments(post) == ["By Eve"]
            assert comments == ["By Ada"]
            assert answers[3].json()["items"][0]["author"] == GONE

    async def test_orphans_are_hidden_in_any_case(self, people: People) -> None:
        """A user unknown to the source may not exist; their content goes in seven days."""
        ada, eve = await people.user(), await people.user()
        post = await people.post(ada)
        mine = await people.post(eve, "By Eve")
        await people.comment(ada, mine)
        await people.comment(eve, post)
        async with people.engine.begin() as connection:
            await USERS.bury(connection, [(ada, 1)])
        await execute(people.engine, f"UPDATE users SET sweep = 'orphan' WHERE id = '{ada}'")

        assert await people.titles() == ["By Eve"]
        assert await people.comments(mine) == []
        for path in (f"/v1/posts/{post['id']}", f"/v1/posts/{post['id']}/comments"):
            assert_problem(await people.ask(None, "GET", path), 404, "not_found")

    async def test_posts_return_when_a_lost_row_is_restored(self, people: People) -> None:
        """Without a foreign key, damage to the replica loses no content."""
        ada = await people.user()
        await people.post(ada)
        await execute(people.engine, "DELETE FROM users")
        assert await people.titles() == []
        await people.apply(a_state(ada))
        assert await people.titles() == ["A title"]

    async def test_content_of_deleted_users_is_moderated(self, people: People, choice: str) -> None:
        """A moderator sees the same as readers, and may delete it."""
        ada, mod = await people.user(), await people.user(roles=("moderator",))
        path = f"/v1/posts/{(await people.post(ada))['id']}"
        await people.apply(a_tombstone(ada))
        answer = await people.ask(mod, "DELETE", path)
        assert answer.status_code == (404 if choice == "remove" else 204)


class TestTombstones:
    """No content of a user appears after the tombstone."""

    async def test_a_write_that_waits_for_a_tombstone_is_refused(self, people: People) -> None:
        """A post, a comment on another's post, and what a service keeps."""
        ada, eve = await people.user(), await people.user()
        comments = f"/v1/posts/{(await people.post(eve))['id']}/comments"
        write = people.ask(ada, "POST", "/v1/posts", A_POST)
        comment = people.ask(ada, "POST", comments, {"body": "x"})
        *written, kept = await people.during_tombstone(ada, write, comment, people.keep(ada))
        for answer in written:
            assert_problem(answer, 401, "invalid_token")
        assert_problem(kept, 422, "unknown_author")
        query = "SELECT author_id FROM posts UNION ALL SELECT author_id FROM comments"
        assert await fetch(people.engine, query) == [(eve,)]

    async def test_a_tombstone_waits_for_a_write_that_has_locked_the_author(
        self, people: People
    ) -> None:
        """The post or comment is committed before the tombstone, so the sweep finds it."""
        comments = f"/v1/posts/{(await people.post(await people.user()))['id']}/comments"
        for table, path, body in (
            ("posts", "/v1/posts", A_POST),
            ("comments", comments, {"body": "x"}),
        ):
            ada = await people.user()
            async with people.engine.begin() as blocking:
                # The write is at its last step: its author is held, its row not in yet.
                await blocking.execute(text(f"LOCK TABLE {table} IN EXCLUSIVE MODE"))
                writing = asyncio.create_task(people.ask(ada, "POST", path, body))
                await until_waiting(people.engine)
                burying = asyncio.create_task(people.apply(a_tombstone(ada)))
                await until_waiting(people.engine, 2)
                assert not burying.done()

            assert (await writing).status_code == 201
            await burying
            query = f"SELECT status FROM {table} JOIN users ON users.id = author_id"
            assert ("deleted",) in await fetch(people.engine, query)


class TestCost:
    """The cost of a page does not depend on the number of posts."""

    async def test_a_page_is_one_statement(self, people: People) -> None:
        """It includes authors and profiles, without BEGIN and without N+1 queries."""
        for number in range(10):
            await people.post(await people.user(), f"{number}")
        statements = await listen(people)
        for limit in (5, 10, 1):
            assert len(await people.titles(limit=limit)) == limit
        await eventually(lambda: statements and "LIMIT 2" in statements[-1])
        assert [statement.split()[-1] for statement in statements] == ["6", "11", "2"]

    @pytest.mark.parametrize("choice", ["remove", "keep"])
    async def test_pages_and_limits_follow_an_index(self, people: People, choice: Any) -> None:
        """Even with few authors, where PostgreSQL would scan the posts of all."""
        ada, eve = await people.user(), await people.user()
        await insert_posts(people, eve, 20)
        await insert_posts(people, ada, 3_000)
        counting = driver_sql(SECONDS_LEFT["posts"], "seconds", "author_id", "quota")
        of_eve = page_sql(choice, 21, of_one=True)
        for index, kinds, statement, values in [
            ("position_idx", "bigint", page_sql(choice, 21), "2000"),
            ("author_id_idx", "bigint, uuid", of_eve, f"5000, '{eve}'"),
            ("written_idx", "integer, uuid, integer", counting, f"60, '{ada}', 10"),
        ]:
            plan = await people.plan(kinds, statement, values)
            assert "Sort" not in plan
            assert "Seq Scan on posts" not in plan
            assert f"Index Scan Backward using posts_{index}" in plan


class TestAway:
    """The list bypasses SQLAlchemy but handles a lost database as well."""

    async def test_a_connection_that_ended_while_idle_is_replaced(self, people: People) -> None:
        """After a restart of PostgreSQL, for example, no request fails."""
        await people.post(await people.user())
        for _ in range(3):
            await execute(people.engine, f"SELECT pg_terminate_backend(pid) {_OTHERS}")
            await eventually(lambda: _is_alone(people))
            assert await people.titles() == ["A title"]

    async def test_after_a_connection_has_ended_one_request_may_fail(self, people: People) -> None:
        for _ in range(5):
            assert (await people.ask(None, "GET", "/v1/posts")).status_code == 200
            await execute(people.engine, f"SELECT pg_terminate_backend(pid) {_OTHERS}")
            assert (await people.ask(None, "GET", "/v1/posts")).status_code in (200, 503)

    async def test_what_is_unavailable_is_a_503(self, people: People, unused_port: int) -> None:
        nowhere = f"postgresql+asyncpg://x@127.0.0.1:{unused_port}/x"
        for change in ({"lock_timeout_ms": 100}, {"database_url": nowhere}):
            settings = people.settings.model_copy(update=change)
            async with people_of(settings, people.key) as others, people.engine.begin() as holder:
                await holder.execute(text("LOCK TABLE posts IN ACCESS EXCLUSIVE MODE"))
                answer = await others.ask(None, "GET", "/v1/posts")
            assert_problem(answer, 503, "unavailable")
            assert int(answer.headers["Retry-After"]) > 0


async def titles_of(people: People, **params: Any) -> AsyncIterator[list[str]]:
    async for page in people.pages("/v1/posts", **params):
        yield [post["title"] for post in page]


async def insert_posts(people: People, author_id: UUID, count: int) -> None:
    """Insert posts without the API, past its limit."""
    await execute(
        people.engine,
        f"INSERT INTO posts (author_id, title, body) SELECT '{author_id}', 'Post ' || n, 'x'"
        f" FROM generate_series(1, {count}) AS n",
    )


async def listen(people: People) -> list[str]:
    statements: list[str] = []
    transport: Any = people.client._transport
    engine = transport.app.state.context.engine
    borrowed = await engine.raw_connection()

    borrowed.driver_connection.add_query_logger(lambda record: statements.append(record.query))
    borrowed.close()
    return statements


_OTHERS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


async def _is_alone(people: People) -> bool:
    return not await fetch(people.engine, f"SELECT 1 {_OTHERS}")
