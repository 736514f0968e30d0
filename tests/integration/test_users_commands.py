"""The commands ``auth-service users …``, run as an operator does."""

import asyncio
import contextlib
import json
import os
import pty
import select
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Row

from auth_service.accounts.create_admin import promote
from auth_service.accounts.life import VERSIONS_SHOWN_MAX
from auth_service.accounts.sign_up import sign_up
from auth_service.outbox.set_aside import BEHIND, RETURNED, UNSENDABLE
from auth_service.users.model import NoSuchUser
from auth_service.users.passwords import Passwords
from service_kit.process.actors import operator
from tests.support.auth_api import PASSWORD, AuthApi, Signed, assert_problem
from tests.support.database_roles import acting_as
from tests.support.forks import Fork
from tests.support.in_turn import in_turn
from tests.support.processes import run, words
from tests.support.relaying import outbox

ROOT = "root@example.org"
OTHER_ROOT = "other@example.org"
OTHER = "a lantern under seven bridges"

LONG = " ".join(str(uuid4()) for _ in range(1000))

# The prompts of the commands on a terminal, up to their end.
FIRST = "Password (at least 15 characters; leave empty to generate one): "
AGAIN = "Repeat for confirmation: "
SURE = "[y/N]:"

STUCK_SECONDS = 30
"""A command that shows nothing for this long waits for input that it does not get."""

Ended = subprocess.CompletedProcess[str]


class Commands:
    """The commands, and the API and database that they act on."""

    def __init__(self, auth_url: str, folder: Path, api: AuthApi) -> None:
        self.api = api
        self.fetch, self.execute = api.fetch, api.execute
        self._folder = folder
        self._environment = {
            "PATH": os.environ["PATH"],
            "AUTH_DATABASE_URL": acting_as("auth_operator", auth_url),
            "USER": "op",
        }

    async def __call__(self, *arguments: str, typed: bytes = b"", **settings: str) -> Ended:
        """Run one with ``typed`` as its standard input, which is not a terminal."""
        command, environment = ("auth-service", "users", *arguments), self._environment | settings
        return await asyncio.to_thread(run, command, environment, self._folder, typed=typed)

    async def done(self, *arguments: str, typed: bytes = b"", **settings: str) -> Ended:
        """Run one that must succeed."""
        ended = await self(*arguments, typed=typed, **settings)
        assert ended.returncode == 0, ended.stderr
        return ended

    async def on_a_terminal(
        self, *arguments: str, typed: list[tuple[str, str]]
    ) -> tuple[int, str, str]:
        """Run one on a terminal: exit code, standard output, and all that the terminal showed.

        Each answer is typed, and shows as ⏎, once the terminal shows the question before it.
        """
        return await asyncio.to_thread(self._run_on_a_terminal, arguments, typed)

    async def events(self, user_id: UUID | None = None) -> list[Row[Any]]:
        return await outbox(self.api.engine, user_id)

    async def add(self, count: int) -> list[str]:
        """Insert users; return their ids."""
        async with self.api.engine.begin() as connection:
            added = await connection.exec_driver_sql(
                "INSERT INTO users (email, password_hash, version)"
                f" SELECT n || '@example.org', 'x', 1 FROM generate_series(1, {count}) AS n"
                " RETURNING id::text"
            )
            return list(added.scalars())

    async def remaining(self) -> list[str]:
        """The users who are not erased."""
        rows = await self.fetch("SELECT id::text FROM users WHERE status <> 'deleted'")
        return [row.id for row in rows]

    async def signs_in(self, email: str, password: str) -> bool:
        """Whether this is the password of an account whose token may list users."""
        answer = await self.api.sign_in(email, password)
        if answer.status_code != 200:
            return False
        listed = await self.api.ask(answer.json(), "GET", "/v1/admin/users")
        return listed.status_code == 200

    async def assert_cut_off(self, before: Signed) -> None:
        """Neither the earlier access token nor the earlier refresh token works."""
        assert_problem(await self.api.me(before), 401, "invalid_token")
        assert (await self.api.refresh(before["refresh_token"])).status_code == 400

    def _run_on_a_terminal(
        self, arguments: tuple[str, ...], typed: list[tuple[str, str]]
    ) -> tuple[int, str, str]:
        ours, theirs = pty.openpty()
        output, theirs_output = os.pipe()
        command = words(["auth-service", "users", *arguments])
        streams = (theirs, theirs_output, theirs)
        process = Fork(command, self._environment, self._folder, streams, session=True)
        os.close(theirs)
        os.close(theirs_output)
        shown, left = "", list(typed)
        with contextlib.suppress(OSError):  # the terminal closes with the command
            while piece := self._read(ours, process):
                shown += piece.decode()
                if left and left[0][0] in shown.rpartition("⏎")[2]:
                    os.write(ours, f"{left.pop(0)[1]}\n".encode())
                    shown += "⏎"
        os.close(ours)
        with open(output, "rb") as printed:  # noqa: PTH123
            return process.wait(30), printed.read().decode(), shown

    @staticmethod
    def _read(terminal: int, process: Fork) -> bytes:
        if not select.select([terminal], [], [], STUCK_SECONDS)[0]:
            process.kill()
        return os.read(terminal, 4096)


@pytest.fixture
def users(auth_url: str, tmp_path: Path, api: AuthApi) -> Commands:
    return Commands(auth_url, tmp_path, api)


class TestCreateAdmin:
    async def test_with_the_password_from_standard_input(self, users: Commands) -> None:
        """An account that signs in and administers, with its event and audit entry."""
        wrong = await users("create-admin", ROOT, "--role", "Not A Role")
        assert (wrong.returncode, "use lower-case letters" in wrong.stderr) == (2, True)
        arguments = ("create-admin", "Root@Example.org", "--role=operator")
        ended = await users.done(*arguments, typed=f"{PASSWORD}\nx\n".encode())

        assert PASSWORD not in ended.stdout + ended.stderr
        assert await users.signs_in(ROOT, PASSWORD)
        [row] = await users.fetch("SELECT * FROM users")
        [event] = await users.events()
        assert (row.email, row.email_verified) == (ROOT, False)
        assert (event.type, event.version) == ("user.created", row.version)
        assert event.payload["roles"] == row.roles == ["admin", "operator"]
        [entry] = await users.fetch("SELECT * FROM audit_log WHERE action = 'user_created'")
        assert (entry.action, entry.actor) == ("user_created", "operator:op")
        assert (entry.subject, entry.request_id) == (str(row.id), None)

    @in_turn("typed", [b"", b"\n", b"\r\n"])
    async def test_without_one_a_strong_one_is_made(self, users: Commands, typed: bytes) -> None:
        """It is shown once, by the command; also for an unverified account that exists."""
        new, squatted = [f"{who}{len(typed)}@example.org" for who in ("user", "squatter")]
        await users.api.sign_up(squatted)
        for address, account, options in ((new, "new", []), (squatted, "existing", ["--existing"])):
            ended = await users("create-admin", address, "--json", *options, typed=typed)
            shown = json.loads(ended.stdout)
            assert shown.keys() == {"id", "email", "account", "password"}
            assert (shown["email"], shown["account"]) == (address, account)
            assert len(shown["password"]) >= 32
            assert shown["password"] not in ended.stderr
            assert await users.signs_in(address, shown["password"])
            assert not await users.signs_in(address, PASSWORD)

    async def test_an_account_that_exists_is_refused(self, users: Commands) -> None:
        """Anybody may have signed up with the address first, and must not own the system."""
        user = (await users.api.sign_up(ROOT))["user"]
        for address, verified in ((ROOT, False), ("ROOT@Example.ORG", True)):
            await users.execute(f"UPDATE users SET email_verified = {verified}")
            before = await users.fetch("SELECT * FROM users")
            ended = await users("create-admin", address, "--role=operator", typed=OTHER.encode())
            assert (ended.returncode, ended.stdout) == (1, "")
            assert f"account {user['id']} has this address already" in ended.stderr
            assert "--existing" in ended.stderr
            assert await users.fetch("SELECT * FROM users") == before

    async def test_a_confirmed_unverified_account_gets_the_given_password(
        self, users: Commands
    ) -> None:
        """The person who signed up with the address retains no password, session, token or link."""
        squatter = await users.api.sign_up(ROOT)
        user_id = squatter["user"]["id"]
        await users.execute(
            "UPDATE users SET roles = '{editor}'",
            "INSERT INTO mail_links (token_hash, user_id, purpose, expires_at) VALUES"
            f" ('x', '{user_id}', 'reset_password', now() + interval '1 hour')",
        )

        options = ("--existing", "--role=operator", "--json")
        ended = await users.done("create-admin", ROOT, *options, typed=f"{OTHER}\n".encode())

        assert json.loads(ended.stdout) == {"id": user_id, "email": ROOT, "account": "existing"}
        assert not await users.signs_in(ROOT, PASSWORD)
        assert await users.signs_in(ROOT, OTHER)
        await users.assert_cut_off(squatter)
        assert not await users.fetch("SELECT 1 FROM mail_links")
        [row] = await users.fetch("SELECT * FROM users")
        *_, event = await users.events()
        assert event.payload["roles"] == ["admin", "editor", "operator"]
        assert event.payload["tokens_valid_after"] is not None
        assert (event.type, event.version) == ("user.updated", row.version)
        entries = await users.fetch("SELECT * FROM audit_log ORDER BY id DESC LIMIT 2")
        assert [entry.action for entry in entries] == ["authn_password_reset", "roles_changed"]
        assert {entry.actor for entry in entries} == {"operator:op"}

    async def test_a_confirmed_verified_account_keeps_its_password(self, users: Commands) -> None:
        """Its sessions end nevertheless, each time; the command says that the password stays."""
        await users.api.sign_up(ROOT)
        await users.execute("UPDATE users SET email_verified = true")
        for _ in range(2):
            before = (await users.api.sign_in(ROOT)).json()

            ended = await users.done("create-admin", ROOT, "--existing", typed=OTHER.encode())

            assert "keeps its password" in ended.stderr
            await users.assert_cut_off(before)
            assert await users.signs_in(ROOT, PASSWORD)

    async def test_what_is_refused_is_one_sentence(self, users: Commands) -> None:
        """Exit code 1, nothing changes, and the password is not repeated.

        A mistyped address makes nobody an administrator; on a disabled account the role would
        have no effect.
        """
        await users.api.sign_up("off@example.org")
        await users.execute("UPDATE users SET status = 'disabled'")
        before = await users.fetch("SELECT * FROM users")
        for arguments, typed, sentence in (
            (["root"], PASSWORD.encode(), "not a valid e-mail address"),
            ([ROOT], b"too short", "password refused"),
            ([ROOT], LONG[:257].encode(), "at most 256"),
            ([ROOT], LONG.encode(), "at most 256"),
            ([ROOT], b"correct horse \xff battery", "password refused"),
            ([ROOT, "--existing"], PASSWORD.encode(), "no account has this address"),
            (["off@example.org"], b"", "is disabled"),
        ):
            ended = await users("create-admin", *arguments, typed=typed)
            assert (ended.returncode, ended.stdout) == (1, "")
            assert sentence in ended.stderr
            assert len(ended.stderr.splitlines()) == 1
            assert await users.fetch("SELECT * FROM users") == before

    async def test_no_changed_account_is_promoted(self, api: AuthApi, passwords: Passwords) -> None:
        """Not if its address was changed or verified in between."""
        user = await sign_up(api.engine, passwords, email=ROOT, password=PASSWORD)
        given: dict[str, Any] = {"length_min": 15, "actor": "operator:test"}
        for change in ({"email": "old@example.org"}, {"email_verified": True}):
            looked_at: Any = replace(user, **change)
            with pytest.raises(NoSuchUser):
                await promote(api.engine, passwords, looked_at, password=None, **given)
        assert (await api.fetch("SELECT roles FROM users"))[0].roles == []

    async def test_on_a_terminal_it_is_typed_twice_and_not_shown(self, users: Commands) -> None:
        slip = [(FIRST, PASSWORD), (AGAIN, "a slip of the finger")]
        typed = [*slip, (FIRST, PASSWORD), (AGAIN, PASSWORD)]

        code, printed, shown = await users.on_a_terminal("create-admin", ROOT, typed=typed)

        assert code == 0, shown
        assert shown.count("⏎") == 4
        assert PASSWORD not in shown + printed
        assert "slip" not in shown + printed
        assert await users.signs_in(ROOT, PASSWORD)

    async def test_on_a_terminal_it_asks_again_twice_and_says_why(self, users: Commands) -> None:
        """A slip, a short and a weak one; the third refusal ends the command."""
        weak = "a" * 20
        slip, short = [(FIRST, PASSWORD), (AGAIN, "a slip")], [(FIRST, "short"), (AGAIN, "short")]
        refused = [*slip, *short, (FIRST, weak), (AGAIN, weak)]

        code, printed, shown = await users.on_a_terminal("create-admin", ROOT, typed=refused)

        assert (code, printed, shown.count(FIRST)) == (1, "", 3), shown
        assert shown.count("password refused: ") == 3
        assert "the two entries differ" in shown
        assert "use at least 15 characters" in shown
        assert await users.fetch("SELECT * FROM users") == []

        accepted = [*slip, *short, (FIRST, PASSWORD), (AGAIN, PASSWORD)]
        code, _, shown = await users.on_a_terminal("create-admin", ROOT, typed=accepted)
        assert code == 0, shown
        assert await users.signs_in(ROOT, PASSWORD)

    async def test_on_a_terminal_one_is_made_when_none_is_typed(self, users: Commands) -> None:
        """It is on standard output, so that it can be redirected to a safe place."""
        command, typed = ("create-admin", ROOT, "--json"), [(FIRST, "")]
        code, printed, shown = await users.on_a_terminal(*command, typed=typed)
        assert code == 0, shown
        password = json.loads(printed)["password"]
        assert password not in shown
        assert await users.signs_in(ROOT, password)

    async def test_the_least_length_is_the_services_setting(self, users: Commands) -> None:
        """The same minimum as for sign-up."""
        typed = PASSWORD.encode()
        refused = await users("create-admin", ROOT, typed=typed, AUTH_PASSWORD_LENGTH_MIN="40")
        made = await users("create-admin", ROOT, "--json", AUTH_PASSWORD_LENGTH_MIN="64")
        assert refused.returncode == 1
        assert len(json.loads(made.stdout)["password"]) >= 64


class TestShow:
    async def test_a_user(self, users: Commands) -> None:
        made = json.loads((await users.done("create-admin", ROOT, "--json")).stdout)
        assert await users.signs_in(ROOT, made["password"])

        as_json = await users.done("show", made["id"].upper(), "--json")
        as_text = await users.done("show", made["email"].upper())

        shown = json.loads(as_json.stdout)
        assert shown.keys() == {
            *("id", "email", "email_verified", "roles", "status", "version", "tokens_valid_after"),
            *("created_at", "updated_at", "sessions", "audit"),
        }
        assert (shown["id"], shown["email"], shown["roles"]) == (made["id"], ROOT, ["admin"])
        assert shown["sessions"] == 1
        first = shown["audit"][-1]
        assert (first["action"], first["actor"]) == ("user_created", "operator:op")
        assert "user_created by operator:op" in as_text.stdout
        assert ROOT in as_text.stdout
        assert "argon2" not in as_json.stdout + as_text.stdout
        for nobody in ("0d4a0375-e11b-45fc-aa67-a529852867b1", "nobody@example.org", ""):
            ended = await users("show", nobody)
            assert (ended.returncode, ended.stdout) == (1, "")
            assert len(ended.stderr.splitlines()) == 1

    async def test_a_tombstone(self, users: Commands) -> None:
        """What is left of the user, and who deleted them."""
        [user_id] = await users.add(1)
        await users("erase", user_id)

        as_json, as_text = [await users("show", user_id, *options) for options in (["--json"], [])]

        shown = json.loads(as_json.stdout)
        assert shown.keys() == {"id", "status", "version", "deleted_at", "sessions", "audit"}
        assert (shown["status"], shown["sessions"]) == ("deleted", 0)
        assert shown["audit"][0]["action"] == "user_deleted"
        assert "user_deleted by operator:op" in as_text.stdout


class TestLife:
    async def test_versions_are_newest_first_each_with_its_event(self, users: Commands) -> None:
        made = json.loads((await users.done("create-admin", ROOT, "--json")).stdout)
        await users.done("create-admin", ROOT, "--existing", "--role", "operator")
        first, second = await users.events(UUID(made["id"]))
        await users.execute(
            f"UPDATE outbox_events SET published_at = now() WHERE position = {first.position}"
        )

        as_json = await users.done("life", ROOT, "--json")
        as_text = await users.done("life", made["id"])

        shown = json.loads(as_json.stdout)
        assert (shown["id"], shown["version"], shown["sessions"]) == (made["id"], second.version, 0)
        assert shown["tokens_valid_after"] is not None
        newest, oldest = shown["versions"]
        for version, event in ((newest, second), (oldest, first)):
            assert (version["version"], version["type"]) == (event.version, event.type)
            assert version["event_id"] == str(event.event_id)
        assert (newest["published_at"], newest["set_aside"]) == (None, None)
        assert oldest["published_at"] is not None
        *_, later, earlier = as_text.stdout.splitlines()
        assert str(second.event_id) in later
        assert later.endswith("not published yet")
        assert "user.created" in earlier
        assert "published 20" in earlier

    @pytest.mark.parametrize(
        ("code", "why"),
        [
            (RETURNED, "no queue takes it"),
            (BEHIND, "an earlier event of the user waits"),
            (UNSENDABLE, "too large to be sent"),
        ],
    )
    async def test_an_event_that_is_set_aside_says_why(
        self, users: Commands, code: int, why: str
    ) -> None:
        await users.done("create-admin", ROOT, typed=b"\n")
        await users.execute(f"UPDATE outbox_events SET set_aside = {code}")

        as_json = await users.done("life", ROOT, "--json")
        as_text = await users.done("life", ROOT)

        [version] = json.loads(as_json.stdout)["versions"]
        assert version["set_aside"] == why
        assert as_text.stdout.endswith(f"set aside: {why}\n")

    async def test_a_tombstone_has_nothing_personal(self, users: Commands) -> None:
        made = json.loads((await users.done("create-admin", ROOT, "--json")).stdout)
        await users.done("create-admin", OTHER_ROOT, "--json")
        await users.done("erase", made["id"])

        ended = await users.done("life", made["id"], "--json")

        shown = json.loads(ended.stdout)
        assert shown.keys() == {
            *("id", "status", "version", "deleted_at", "sessions", "audit", "versions"),
        }
        assert shown["versions"][0]["type"] == "user.deleted"
        assert ROOT not in ended.stdout
        unknown = await users("life", ROOT)
        assert (unknown.returncode, unknown.stdout) == (1, "")

    async def test_only_the_latest_are_shown(self, users: Commands) -> None:
        made = json.loads((await users.done("create-admin", ROOT, "--json")).stdout)
        await users.execute(
            "INSERT INTO outbox_events (type, user_id, version)"
            f" SELECT 'user.updated', '{made['id']}', n"
            f" FROM generate_series(1, {VERSIONS_SHOWN_MAX}) AS n"
        )

        shown = json.loads((await users.done("life", ROOT, "--json")).stdout)["versions"]

        assert [each["version"] for each in shown] == list(range(VERSIONS_SHOWN_MAX, 0, -1))


class TestFind:
    async def test_by_the_beginning_of_an_id_or_address(self, users: Commands) -> None:
        """It is in the audit log, by ids."""
        made = json.loads((await users.done("create-admin", ROOT, "--json")).stdout)

        by_address = await users.done("find", ROOT[:4].upper())
        by_id = await users.done("find", made["id"][:8], "--json")
        nobody = await users("find", "nobody@")
        short = [await users("find", text) for text in ("ro", " r ")]

        assert by_address.stdout == f"{made['id']}  active    {ROOT}\n"
        found = {"id": made["id"], "email": ROOT, "status": "active"}
        assert json.loads(by_id.stdout) == {"items": [found]}
        assert (nobody.returncode, nobody.stdout, len(nobody.stderr.splitlines())) == (1, "", 1)
        assert [each.returncode for each in short] == [2, 2]
        entries = await users.fetch("SELECT * FROM audit_log WHERE action = 'users_searched'")
        assert {entry.actor for entry in entries} == {"operator:op"}
        assert [entry.details["found"] for entry in entries] == [[made["id"]], [made["id"]], []]


class TestErase:
    async def test_users_are_erased_as_if_they_had_done_it(self, users: Commands) -> None:
        """Tombstones and events; their addresses are nowhere any more."""
        one, other, third = await users.add(3)

        ended = await users.done("erase", one, other)

        assert ended.stdout.splitlines() == [f"{one}  erased", f"{other}  erased"]
        assert await users.remaining() == [third]
        for user_id in (one, other):
            [event] = await users.events(UUID(user_id))
            assert event.type == "user.deleted"
        entries = await users.fetch("SELECT * FROM audit_log ORDER BY id")
        done = [(e.action, e.actor, e.subject) for e in entries]
        assert done == [("user_deleted", "operator:op", user_id) for user_id in (one, other)]

    async def test_it_continues_after_one_that_cannot_be_erased(self, users: Commands) -> None:
        """Exit code 1 if one is unknown or the last administrator; the others are erased."""
        last, one, other = await users.add(3)
        await users.execute(f"UPDATE users SET roles = '{{admin}}' WHERE id = '{last}'")
        unknown = str(uuid4())

        ended = await users("erase", unknown, one, last, other)

        assert ended.returncode == 1
        assert ended.stdout.splitlines() == [f"{one}  erased", f"{other}  erased"]
        complaints = ended.stderr.splitlines()
        assert [line.split()[0] for line in complaints] == [unknown, last]
        assert "create-admin" in complaints[1]
        assert await users.remaining() == [last]

    async def test_once_more_does_no_harm(self, users: Commands) -> None:
        """An interrupted run can be repeated; an unknown id alone is a failure."""
        one, other = await users.add(2)
        await users("erase", one)
        ended = await users("erase", one, other)
        unknown = await users("erase", str(uuid4()), "--json")
        assert (ended.returncode, unknown.returncode) == (0, 1)
        counts = {"erased": 0, "already_erased": 0, "unknown": 1, "last_administrator": 0}
        assert json.loads(unknown.stdout) == counts
        assert ended.stdout.splitlines() == [f"{one}  was already erased", f"{other}  erased"]
        assert len(await users.events(UUID(one))) == 1

    async def test_an_invalid_id_is_refused_before_anybody_is_erased(self, users: Commands) -> None:
        """A typing error in a long line, or on standard input, must not do half of the work."""
        [user_id] = await users.add(1)

        in_line = await users("erase", user_id, "ada@example.org")
        typed = await users("erase", "-", typed=f"{user_id}\nada@example.org\n".encode())
        both = await users("erase", "-", user_id, typed=user_id.encode())

        assert [ended.returncode for ended in (in_line, typed, both)] == [2, 1, 2]
        assert typed.stdout == both.stdout == ""
        assert typed.stderr.startswith("standard input, id 2: 'ada@example.org' is not a valid")
        assert await users.remaining() == [user_id]

    async def test_on_a_terminal_it_asks(self, users: Commands) -> None:
        """Unless ``--yes`` is given."""
        kept, one, other = await users.add(3)
        for user_id, options, typed in (
            (kept, [], [(SURE, "n")]),
            (one, [], [(SURE, "y")]),
            (other, ["--yes"], []),
        ):
            code, _, shown = await users.on_a_terminal("erase", user_id, *options, typed=typed)
            assert code == (1 if user_id == kept else 0), shown
            assert shown.count("⏎") == len(typed)
        assert await users.remaining() == [kept]

    async def test_the_question_names_the_users(self, users: Commands) -> None:
        """By their addresses, so that a wrong id shows; an id without a living user stays one."""
        ids, unknown = await users.add(12), str(uuid4())
        for asked, named in (
            (ids[:1], "1@example.org"),
            ([*ids[:2], unknown], f"1@example.org, 2@example.org and {unknown}"),
            (ids, "9@example.org, 10@example.org and 2 more"),
        ):
            _, _, shown = await users.on_a_terminal("erase", *asked, typed=[(SURE, "n")])
            assert f"{named}? [y/N]" in shown.replace("\r\n", ""), shown
        assert len(await users.remaining()) == 12

    async def test_any_number_of_ids_come_from_standard_input(self, users: Commands) -> None:
        """More than fit a command line or a report of reconcile; one of them is unknown."""
        ids = await users.add(1050)
        unknown = str(uuid4())
        ended = await users("erase", "-", typed="\n".join([*ids, unknown]).encode())
        assert ended.returncode == 1
        assert ended.stdout.splitlines() == [f"{user_id}  erased" for user_id in ids]
        assert f"{unknown}  unknown user id" in ended.stderr
        assert await users.remaining() == []


async def test_no_settings_and_no_database_are_a_sentence(users: Commands, tmp_path: Path) -> None:
    """Exit codes 2 and 1, naming the variable, without a traceback."""
    nowhere = f"postgresql://postgres:hunter2@/nowhere?host={tmp_path}"
    for command in (["create-admin", ROOT], ["show", ROOT], ["erase", str(uuid4())]):
        unset = await users(*command, AUTH_DATABASE_URL="")
        away = await users(*command, AUTH_DATABASE_URL=nowhere)
        assert (unset.returncode, away.returncode) == (2, 1)
        assert "AUTH_DATABASE_URL" in unset.stderr
        assert "database" in away.stderr
        for word in ("Traceback", "hunter2"):
            assert word not in unset.stderr + away.stderr


def test_a_user_without_a_name_is_an_operator_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs under a numeric user id."""

    def nameless() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert operator() == f"operator:{os.getuid()}"
