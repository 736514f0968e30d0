"""``auth-service users import``: users of another system come along, once, with their passwords."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import bcrypt
import pytest
from pydantic import SecretStr
from sqlalchemy import Row

from auth_service.accounts.sign_up import add_user
from auth_service.imports import load, pace
from auth_service.imports.load import BATCH, import_users
from auth_service.imports.model import Outcome, Report, Verdict
from auth_service.imports.pace import Pace
from auth_service.imports.sources import Form, user_id
from auth_service.settings import ApiSettings
from auth_service.users.claim_address import claim_address
from auth_service.users.transaction import change_user
from service_kit.process.progress import Progress
from service_kit.process.rates import Rate
from tests.support.auth_api import PASSWORD, AuthApi
from tests.support.database_roles import acting_as
from tests.support.eventually import eventually
from tests.support.foreign_hashes import MADE_ELSEWHERE, SIGNER_KEY
from tests.support.processes import Process, run
from tests.support.relaying import outbox

FORM = Form("usersync", "shop")

BCRYPT = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()


def lines(records: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def people(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [
        {"id": number, "email": f"user-{number}@example.org", "password_hash": BCRYPT}
        for number in range(start, start + count)
    ]


class Importing:
    """Imports into the database of an auth API, in this process or by the command."""

    def __init__(self, auth_url: str, folder: Path, api: AuthApi) -> None:
        self.api = api
        self.told: list[tuple[int, Verdict]] = []
        self.file = folder / "users.jsonl"
        self.environment = {
            "PATH": os.environ["PATH"],
            "AUTH_DATABASE_URL": acting_as("auth_operator", auth_url),
            "AUTH_FIREBASE_SIGNER_KEY": SIGNER_KEY,
            "USER": "op",
        }

    async def __call__(
        self, content: bytes, form: Form = FORM, *, dry_run: bool = False, pace: Pace | None = None
    ) -> Report:
        self.told.clear()
        return await import_users(
            self.api.engine,
            BytesIO(content),
            form,
            actor="operator:op",
            tell=lambda number, verdict: self.told.append((number, verdict)),
            progress=Progress("importing", is_quiet=True),
            pace=pace,
            dry_run=dry_run,
        )

    async def command(
        self, content: bytes, *options: str, typed: bytes = b""
    ) -> subprocess.CompletedProcess[str]:
        self.file.write_bytes(content)
        file = "-" if typed else str(self.file)
        command = ("auth-service", "users", "import", file, *options)
        return await asyncio.to_thread(
            run, command, self.environment, self.file.parent, typed=typed
        )

    async def users(self) -> list[Row[Any]]:
        return await self.api.fetch("SELECT * FROM users ORDER BY email")

    async def stored_hash(self, email: str) -> str:
        [row] = await self.api.fetch(
            f"SELECT password_hash FROM users WHERE email = '{email}'"  # of this test
        )
        password_hash: str = row.password_hash
        return password_hash


@pytest.fixture
def api_settings(api_settings: ApiSettings) -> ApiSettings:
    """With the key of a Firebase project, and no limit on attempts to sign in."""
    unlimited: dict[str, object] = dict.fromkeys(
        ("limit_signin", "limit_signin_failures"), Rate(10**6, 1)
    )
    return api_settings.model_copy(
        update=unlimited | {"firebase_signer_key": SecretStr(SIGNER_KEY)}
    )


@pytest.fixture
def importing(auth_url: str, tmp_path: Path, api: AuthApi) -> Importing:
    return Importing(auth_url, tmp_path, api)


def counts(report: Report) -> dict[str, int]:
    return {name: count for name, count in report.figures().items() if count}


async def test_users_sign_in_with_their_password_and_get_a_hash_of_ours(
    importing: Importing, api: AuthApi
) -> None:
    """Of every kind of hash; a wrong password is refused, and changes nothing."""
    systems = {f"{n}@example.org": each for n, each in enumerate(MADE_ELSEWHERE.values())}
    records = [
        {"id": email, "email": email, "password_hash": hashed}
        for email, (_, hashed) in systems.items()
    ]
    assert counts(await importing(lines(records))) == {"lines": len(systems), "new": len(systems)}

    for email, (password, _) in systems.items():
        before = await importing.stored_hash(email)
        assert (await api.sign_in(email, f"{password}.")).status_code == 401, email
        assert await importing.stored_hash(email) == before
        assert (await api.sign_in(email, password)).status_code == 200, email
        assert (await importing.stored_hash(email)).startswith("$argon2id$")
        assert (await api.sign_in(email, password)).status_code == 200
        assert (await api.sign_in(email, f"{password}.")).status_code == 401


async def test_each_user_is_recorded_as_if_they_had_signed_up(
    importing: Importing, api: AuthApi
) -> None:
    record = {
        "id": "7",
        "email": "Ada@example.org",
        "email_verified": True,
        "status": "disabled",
        "created_at": "2020-01-31T12:00:00Z",
        "password_hash": BCRYPT,
    }
    await importing(lines([record, *people(2)]))

    [ada] = [row for row in await importing.users() if row.email == "ada@example.org"]
    assert ada.id == user_id("7", "shop")
    assert (ada.email_verified, ada.status, ada.roles) == (True, "disabled", [])
    assert f"{ada.created_at:%F}" == "2020-01-31"
    [event] = await outbox(api.engine, ada.id)
    assert (event.type, event.version, event.is_urgent) == ("user.created", ada.version, False)
    payload = event.payload
    assert payload["created_at"].startswith("2020-01-31T12:00:00")
    assert (payload["email"], payload["status"]) == ("ada@example.org", "disabled")
    assert "password_hash" not in payload
    [entry] = await api.fetch("SELECT * FROM audit_log")
    assert (entry.action, entry.actor, entry.subject) == ("users_imported", "operator:op", None)
    assert entry.details == {"users": 3, "lines": "1-3", "source": "shop"}


async def test_the_same_file_again_changes_nothing(importing: Importing, api: AuthApi) -> None:
    """Neither rows, nor events, nor what users have changed since."""
    content = lines([*people(BATCH + 3), {"email": "no-id@example.org"}])
    form = replace(FORM, without_ids=True)
    first = await importing(content, form)
    assert counts(first) == {"lines": BATCH + 4, "new": BATCH + 4}
    assert (await api.sign_in("user-0@example.org")).status_code == 200
    tables = ("users", "outbox_events", "audit_log")
    before = [await api.fetch(f"SELECT * FROM {table} ORDER BY 1") for table in tables]

    again = await importing(content, form)

    assert counts(again) == {"lines": BATCH + 4, "same": BATCH + 4}
    assert again.is_clean
    assert [await api.fetch(f"SELECT * FROM {table} ORDER BY 1") for table in tables] == before


async def test_conflicts_are_named_by_line_and_left_alone(
    importing: Importing, api: AuthApi
) -> None:
    """The dry run says the same, and writes nothing."""
    taken = await api.sign_up("user-0@example.org")
    await importing(lines(people(3, start=1)))
    await api.execute(
        "UPDATE users SET email = 'moved@example.org' WHERE email = 'user-1@example.org'"
    )
    deleted = await api.sign_in("user-2@example.org")
    assert (await api.delete_me(deleted.json())).status_code == 204
    content = lines([*people(5), {"id": 9, "email": "user-4@example.org"}]) + b"\n{\n"
    before = await importing.users()

    judged = await importing(content, dry_run=True)

    told = list(importing.told)
    assert await importing.users() == before
    done = await importing(content)
    assert importing.told == told
    assert done.counts == judged.counts
    assert counts(done) == {"lines": 7, "new": 1, "same": 1, "conflicting": 4, "unreadable": 1}
    assert [(number, verdict.outcome) for number, verdict in told] == [
        (1, Outcome.CONFLICTING),
        (2, Outcome.CONFLICTING),
        (3, Outcome.CONFLICTING),
        (6, Outcome.CONFLICTING),
        (8, Outcome.UNREADABLE),
    ]
    reasons = {number: verdict.reason or "" for number, verdict in told}
    assert str(taken["user"]["id"]) in reasons[1]
    assert "another e-mail address" in reasons[2]
    assert "deleted" in reasons[3]
    assert "earlier line" in reasons[6]
    assert not done.is_clean
    assert (await api.sign_in("user-0@example.org")).status_code == 200


async def test_a_dry_run_finds_what_far_lines_repeat(importing: Importing) -> None:
    content = lines([*people(BATCH), *people(1), {"id": "x", "email": "user-0@example.org"}])
    report = await importing(content, dry_run=True)
    assert counts(report) == {
        "lines": BATCH + 2,
        "new": BATCH,
        "same": 1,
        "conflicting": 1,
    }
    assert await importing.users() == []


async def test_an_address_that_someone_is_just_taking_is_a_conflict(
    importing: Importing, api: AuthApi
) -> None:
    """The import waits for the sign-up, and PostgreSQL refuses nothing."""
    async with api.engine.begin() as connection:
        await add_user(connection, email="user-1@example.org", password_hash="x")
        importing_them = asyncio.create_task(importing(lines(people(3))))

        async def waits() -> bool:
            return bool(await api.fetch("SELECT 1 FROM pg_locks WHERE NOT granted"))

        await eventually(waits)
    report = await importing_them
    assert counts(report) == {"lines": 3, "new": 2, "conflicting": 1}


async def test_an_address_that_someone_is_just_changing_to_is_a_conflict(
    importing: Importing, api: AuthApi
) -> None:
    """Without the claim, PostgreSQL would refuse the change, and log it with the address."""
    ada = await api.sign_up()
    user_id = UUID(ada["user"]["id"])
    async with api.engine.begin() as connection:
        await claim_address(connection, "user-1@example.org", user_id=user_id)
        importing_them = asyncio.create_task(importing(lines(people(3))))

        async def waits() -> bool:
            return bool(await api.fetch("SELECT 1 FROM pg_locks WHERE NOT granted"))

        await eventually(waits)
        await change_user(connection, user_id, email="user-1@example.org")
    report = await importing_them
    assert counts(report) == {"lines": 3, "new": 2, "conflicting": 1}


async def test_two_imports_of_the_same_file_at_once_are_one(
    importing: Importing, auth_url: str, tmp_path: Path, api: AuthApi
) -> None:
    """Also if they have the ids in common, and not the addresses."""
    other = Importing(auth_url, tmp_path, api)
    one = people(3 * BATCH)
    two = [record | {"email": f"other-{record['id']}@example.org"} for record in reversed(one)]
    for first, second in ((one, two), (one, one)):
        await api.execute("TRUNCATE users, outbox_events CASCADE")
        reports = await asyncio.gather(importing(lines(first)), other(lines(second)))
        assert [report.counts.total() for report in reports] == [3 * BATCH, 3 * BATCH]
        assert sum(report.counts[Outcome.NEW] for report in reports) == 3 * BATCH
        assert len(await importing.users()) == 3 * BATCH
        assert len(await outbox(api.engine)) == 3 * BATCH


async def test_an_import_that_was_killed_is_continued(importing: Importing, api: AuthApi) -> None:
    """Each user has one row and one event, wherever it was."""
    count = 4 * BATCH
    importing.file.write_bytes(lines(people(count)))
    command = f"auth-service users import {importing.file} --namespace shop --per-second {BATCH}"
    process = Process(command, importing.environment, importing.file.parent / "log")
    process.start()

    async def some_are_there() -> bool:
        return len(await importing.users()) >= BATCH

    await eventually(some_are_there)
    process.kill()
    there = len(await importing.users())
    assert there < count

    report = await importing(importing.file.read_bytes())

    assert counts(report) == {"lines": count, "new": count - there, "same": there}
    users = await importing.users()
    events = await outbox(api.engine)
    assert sorted(event.user_id for event in events) == sorted(user.id for user in users)
    assert len(users) == count


async def test_it_waits_for_the_events_so_far(importing: Importing, api: AuthApi) -> None:
    """Nothing is recorded while more than some hundred events wait, so live ones come soon."""
    waits = pace.UNPUBLISHED_MAX // BATCH + 1
    content = lines(people((waits + 2) * BATCH))
    running = asyncio.create_task(
        importing(content, pace=Pace(api.engine, per_second=pace.UNPUBLISHED_MAX * 100))
    )

    async def it_waits() -> bool:
        return len(await importing.users()) == waits * BATCH

    await eventually(it_waits)
    done, _ = await asyncio.wait([running], timeout=1)
    assert not done
    assert len(await importing.users()) == waits * BATCH

    async def published() -> bool:
        await api.execute("UPDATE outbox_events SET published_at = now()")
        return running.done()

    await eventually(published)
    assert (await running).counts[Outcome.NEW] == (waits + 2) * BATCH


async def test_it_waits_for_a_consumer_that_is_behind(importing: Importing, api: AuthApi) -> None:
    await api.execute(
        "INSERT INTO queues (name, messages, seen_at)"
        f" VALUES ('blog.users', {pace.QUEUED_MAX + 1}, now() + interval '1 hour')"
    )
    running = asyncio.create_task(
        importing(lines(people(2 * BATCH)), pace=Pace(api.engine, per_second=100_000))
    )

    async def it_waits() -> bool:
        return len(await importing.users()) == BATCH

    await eventually(it_waits)
    done, _ = await asyncio.wait([running], timeout=0.5)
    assert not done
    await api.execute("UPDATE queues SET messages = 0")
    assert (await running).counts[Outcome.NEW] == 2 * BATCH


class TestCommand:
    async def test_it_reports_and_names_lines_without_addresses(self, importing: Importing) -> None:
        content = lines([*people(2), {"id": 5, "email": "user-0@example.org"}]) + b"{}\n"
        for option, rows in (("--dry-run", 0), ("--at-once", 2)):
            ended = await importing.command(content, option, "--json")
            assert ended.returncode == 1
            assert json.loads(ended.stdout) == {
                "lines": 4,
                "new": 2,
                "same": 0,
                "conflicting": 1,
                "unreadable": 1,
            }
            assert "line 3  conflicting: an earlier line has" in ended.stderr
            assert "line 4  unreadable: email: Field required" in ended.stderr
            assert "@" not in ended.stdout + ended.stderr
            assert len(await importing.users()) == rows

    async def test_it_reads_standard_input(self, importing: Importing) -> None:
        ended = await importing.command(b"", "--at-once", typed=lines(people(2)))
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout.split() == [
            *("lines", "2", "new", "2", "same", "0", "conflicting", "0", "unreadable", "0")
        ]
        [entry] = await importing.api.fetch("SELECT * FROM audit_log")
        assert entry.actor == "operator:op"
        assert entry.details["source"] == "usersync"

    async def test_a_line_without_an_id_needs_an_option(self, importing: Importing) -> None:
        """Such a file, run again, would bring a deleted user back."""
        content = lines([{"email": "ada@example.org"}])
        refused = await importing.command(content, "--at-once")
        assert (refused.returncode, "--without-ids" in refused.stderr) == (1, True)
        assert await importing.users() == []
        ended = await importing.command(content, "--at-once", "--without-ids")
        assert (ended.returncode, len(await importing.users())) == (0, 1)

    async def test_of_firebase_it_needs_the_key(self, importing: Importing) -> None:
        del importing.environment["AUTH_FIREBASE_SIGNER_KEY"]
        ended = await importing.command(b"", "--from", "firebase")
        assert ended.returncode == 1
        assert "set AUTH_FIREBASE_SIGNER_KEY" in ended.stderr

    async def test_an_unknown_system_or_file_is_a_sentence(self, importing: Importing) -> None:
        ended = await importing.command(b"", "--from", "ldap")
        assert (ended.returncode, "use one of usersync, django" in ended.stderr) == (2, True)
        importing.file = importing.file.parent / "missing" / "x"
        command = ("auth-service", "users", "import", str(importing.file))
        ended = await asyncio.to_thread(
            run, command, importing.environment, importing.file.parent.parent
        )
        assert (ended.returncode, "No such file" in ended.stderr) == (1, True)


def test_a_long_line_is_not_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "LINE_BYTES_MAX", 100)
    long = json.dumps({"email": "ada@example.org", "id": "x" * 300}).encode()
    content = b"\xef\xbb\xbf" + lines(people(1)[:1]).replace(BCRYPT.encode(), b"!")
    read = list(load.read_lines(BytesIO(long + b"\n\n" + content + b"x" * 250), FORM))
    assert [line.number for line in read] == [1, 3, 4]
    assert [isinstance(line.user, Verdict) for line in read] == [True, True, True]


def test_a_value_that_nobody_foresaw_makes_its_line_unreadable() -> None:
    """A number with more digits than Python writes: the import continues, and names the line."""
    allowed = sys.get_int_max_str_digits()
    content = b'{"id": %s, "email": "ada@example.org"}\n' % (b"7" * 1_000) + lines(people(1))
    sys.set_int_max_str_digits(640)
    try:
        [one, two] = load.read_lines(BytesIO(content), FORM)
    finally:
        sys.set_int_max_str_digits(allowed)
    assert one.user == Verdict(Outcome.UNREADABLE, "a value cannot be read")
    assert not isinstance(two.user, Verdict)


def test_ids_are_those_of_earlier_releases() -> None:
    """An import that is repeated after an upgrade must find its users."""
    assert user_id("1042", "usersync") == UUID("54ee961f-bccc-55a5-8713-2af4bf92913f")
