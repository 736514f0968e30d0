"""What each service knows of a user, as an archive: for themselves, and for an operator."""

import asyncio
import io
import json
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from uuid import uuid4
from zipfile import ZipFile

from sqlalchemy import text

from blog_service.texts import POST_LENGTH_MAX
from tests.support.auth_api import NEW_PASSWORD, PASSWORD, AuthApi, Signed, assert_problem
from tests.support.builders import a_tombstone
from tests.support.content import People
from tests.support.database_roles import acting_as
from tests.support.processes import AuthCommand, run

SECRETS = ("password_hash", "argon2", "counter", "token_hash", "refresh_token", "networks")


def read(content: bytes, folder: str) -> dict[str, Any]:
    """The JSON documents of an archive, by name."""
    with ZipFile(io.BytesIO(content)) as file:
        assert f"{folder}/README.txt" in file.namelist()
        text = b"".join(file.read(name) for name in file.namelist() if name.endswith(".json"))
        assert not [secret for secret in SECRETS if secret.encode() in text]
        return {
            name.removeprefix(f"{folder}/").removesuffix(".json"): json.loads(file.read(name))
            for name in file.namelist()
            if name.startswith(f"{folder}/") and name.endswith(".json")
        }


async def exported(api: AuthApi, who: Signed, password: str = PASSWORD) -> Any:
    return await api.ask(who, "POST", "/v1/me/export", {"password": password})


class TestAuthService:
    async def test_users_export_their_own_data(self, api: AuthApi) -> None:
        await api.sign_up("bob@example.org")
        ada = await api.sign_up()
        await api.change_address(ada, "lovelace@example.org")
        await api.sign_in("lovelace@example.org")

        answer = await exported(api, ada)

        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "application/zip"
        assert answer.headers["Cache-Control"] == "no-store"
        assert f"auth-{ada['user']['id']}.zip" in answer.headers["Content-Disposition"]
        data = read(answer.content, "auth")
        assert data["account"]["email"] == "lovelace@example.org"
        assert len(data["sessions"]) == 2
        addresses = [event["data"]["email"] for event in data["events"]]
        assert addresses == ["ada@example.org", "lovelace@example.org"]
        assert {entry["by"] for entry in data["audit"]} == {"you"}
        assert b"bob@" not in json.dumps(data).encode()
        [entry] = await api.fetch("SELECT * FROM audit_log WHERE action = 'user_exported'")
        assert entry.actor == f"user:{ada['user']['id']}"
        assert entry.subject == ada["user"]["id"]

    async def test_it_needs_the_password(self, api: AuthApi) -> None:
        """A stolen access token is not enough for all earlier addresses and devices."""
        ada = await api.sign_up()
        assert_problem(await exported(api, ada, NEW_PASSWORD), 403, "wrong_password")
        assert await api.fetch("SELECT 1 FROM audit_log WHERE action = 'user_exported'") == []
        for _ in range(5):
            last = await exported(api, ada, NEW_PASSWORD)
        assert_problem(last, 429, "too_many_requests")

    async def test_a_disabled_user_may_export_too(self, api: AuthApi) -> None:
        ada = await api.sign_up()
        await api.execute("UPDATE users SET status = 'disabled'")
        assert (await exported(api, ada)).status_code == 200

    async def test_an_operator_exports_by_id(
        self, api: AuthApi, auth_command: AuthCommand, tmp_path: Path
    ) -> None:
        ada = await api.sign_up()
        user_id, file = ada["user"]["id"], tmp_path / "ada.zip"

        ended = await auth_command(f"users export {user_id} --into {file}", USER="op")

        assert ended.returncode == 0, ended.stderr
        data = read(file.read_bytes(), "auth")
        assert data["account"]["id"] == user_id
        [entry] = await api.fetch("SELECT * FROM audit_log WHERE action = 'user_exported'")
        assert (entry.actor, entry.subject) == ("operator:op", user_id)

        again = await auth_command(f"users export {user_id} --into {file}")
        assert (again.returncode, "has the part auth already" in again.stderr) == (1, True)
        other = tmp_path / "none.zip"
        unknown = await auth_command(f"users export {uuid4()} --into {other}")
        assert (unknown.returncode, unknown.stderr) == (1, "no user has this id\n")
        assert not other.exists()

    async def test_nothing_is_left_to_export_of_a_deleted_user(
        self, api: AuthApi, auth_command: AuthCommand, tmp_path: Path
    ) -> None:
        ada = await api.sign_up()
        await api.delete_me(ada)
        ended = await auth_command(f"users export {ada['user']['id']} --into {tmp_path / 'a.zip'}")
        assert (ended.returncode, ended.stderr) == (1, "no user has this id\n")


class TestBlog:
    async def test_users_export_their_own_data(self, people: People) -> None:
        ada, bob = await people.user(email="ada@example.org"), await people.user()
        await people.done(ada, "PATCH", "/v1/me", {"display_name": "Ada"})
        posts = [
            await people.done(who, "POST", "/v1/posts", {"title": f"by {who}", "body": "Grüße"})
            for who in (ada, bob, ada)
        ]
        for who in (ada, bob):
            path = f"/v1/posts/{posts[1]['id']}/comments"
            await people.done(who, "POST", path, {"body": f"by {who}"})

        answer = await people.ask(ada, "GET", "/v1/me/export")

        assert answer.status_code == 200
        data = read(answer.content, "blog")
        assert data["user"]["email"] == "ada@example.org"
        assert data["profile"]["display_name"] == "Ada"
        assert [post["id"] for post in data["posts"]] == [posts[0]["id"], posts[2]["id"]]
        assert data["posts"][0]["body"] == "Grüße"
        assert [comment["body"] for comment in data["comments"]] == [f"by {ada}"]
        assert str(bob) not in json.dumps(data)

    async def test_more_exports_than_the_limit_get_the_time_to_wait(self, people: People) -> None:
        ada, bob = await people.user(), await people.user()
        for _ in range(5):
            assert (await people.ask(ada, "GET", "/v1/me/export")).status_code == 200

        refused = await people.ask(ada, "GET", "/v1/me/export")

        assert_problem(refused, 429, "too_many_requests")
        assert refused.json()["violated-policies"] == ["exports"]
        assert 3500 < int(refused.headers["Retry-After"]) <= 3600
        assert (await people.ask(bob, "GET", "/v1/me/export")).status_code == 200

    async def test_what_is_too_large_is_for_the_operator(self, people: People) -> None:
        ada = await people.user()
        many = text(
            "INSERT INTO posts (author_id, title, body)"
            " SELECT :ada, 'long', :body FROM generate_series(1, 220)"
        )
        longest = "\N{GRINNING FACE}" * POST_LENGTH_MAX
        await people.rows_changed(many, {"ada": ada, "body": longest})
        assert_problem(await people.ask(ada, "GET", "/v1/me/export"), 409, "export_too_large")

    async def test_it_needs_a_token_of_a_user_who_is_not_deleted(self, people: People) -> None:
        ada = await people.user()
        nobody = await people.ask(None, "GET", "/v1/me/export")
        assert_problem(nobody, 401, "authentication_required")
        await people.apply(a_tombstone(ada))
        assert_problem(await people.ask(ada, "GET", "/v1/me/export"), 401, "invalid_token")

    async def test_an_operator_adds_it_to_the_same_archive(
        self, people: People, blog_url: str, tmp_path: Path
    ) -> None:
        ada, file = await people.user(email="ada@example.org"), tmp_path / "ada.zip"
        with ZipFile(file, "w") as archive:
            archive.writestr("auth/account.json", "{}")

        async def export(user_id: object, into: Path = file) -> CompletedProcess[str]:
            command = ("blog-service", "users", "export", str(user_id), "--into", str(into))
            environment = {"BLOG_DATABASE_URL": acting_as("blog_operator", blog_url)}
            return await asyncio.to_thread(run, command, environment, tmp_path)

        ended = await export(ada)

        assert ended.returncode == 0, ended.stderr
        data = read(file.read_bytes(), "blog")
        assert data["user"]["id"] == str(ada)
        assert (data["profile"], data["posts"], data["comments"]) == (None, [], [])
        with ZipFile(file) as archive:
            assert "auth/account.json" in archive.namelist()
        unknown = await export(uuid4(), tmp_path / "none.zip")
        assert (unknown.returncode, unknown.stderr) == (1, "no user has this id\n")
