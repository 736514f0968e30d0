"""The command ``auth-service services ensure``: an account and a valid key, after any loss."""

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.services.credential_files import credential_files
from auth_service.services.ensure import ensure_service, lasts
from auth_service.services.model import Credentials, IssuedKey, KeyRecord
from auth_service.settings import ApiSettings
from tests.support.in_turn import in_turn
from tests.support.inbox import execute, fetch
from tests.support.processes import run

SCOPES = ("replays:write", "users:reconcile")
COMMAND = "auth-service services ensure blog --scope users:reconcile --scope replays:write --folder"
LOSSES = {
    "account": "DELETE FROM service_accounts",
    "key": "DELETE FROM api_keys",
    "revoked": "UPDATE api_keys SET revoked_at = now()",
    "expired": "UPDATE api_keys SET expires_at = now()",
    "of_another_secret": "UPDATE api_keys SET secret_mac = sha256('other')",
    "last_third": "UPDATE api_keys SET created_at = created_at - interval '61 days',"
    " expires_at = expires_at - interval '61 days'",
}


@pytest.fixture
def ensure(api_settings: ApiSettings, auth_engine: AsyncEngine) -> Any:
    """Do what the command does, except for the files."""
    given: dict[str, Any] = {"name": "blog", "key_days": 90, "actor": "operator:test"}
    return partial(ensure_service, auth_engine, api_settings.secrets, scopes=SCOPES, **given)


def credentials(issued: IssuedKey | None) -> Credentials:
    assert issued is not None
    return Credentials(issued.id, issued.api_key)


async def scope(api: httpx.AsyncClient, kept: Credentials) -> str | None:
    grant = {"grant_type": "client_credentials"}
    answer = await api.post("/oauth/token", data=grant, auth=(kept.id, kept.api_key))
    return str(answer.json()["scope"]) if answer.status_code == 200 else None


async def test_a_valid_account_and_key_are_left_alone(
    api_environment: dict[str, str],
    api: httpx.AsyncClient,
    auth_engine: AsyncEngine,
    tmp_path: Path,
) -> None:
    """By the command, twice: one account, one key, readable by its owner, never shown."""
    folder = tmp_path / "keys" / "blog"

    first = await asyncio.to_thread(run, f"{COMMAND} {folder}", api_environment, tmp_path)
    kept = in_folder(folder)
    again = await asyncio.to_thread(run, f"{COMMAND} {folder}", api_environment, tmp_path)

    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr
    assert in_folder(folder) == kept
    modes = {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}
    assert modes == {"service-id": 0o600, "api-key": 0o600}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert kept.api_key not in first.stdout + first.stderr + again.stdout + again.stderr
    [key] = await fetch(auth_engine, "SELECT last_used_at FROM api_keys")
    assert key.last_used_at is None
    assert await scope(api, kept) == "replays:write users:reconcile"


@in_turn("loss", LOSSES)
async def test_a_lost_account_or_key_is_replaced(
    ensure: Any, api: httpx.AsyncClient, auth_engine: AsyncEngine, loss: str
) -> None:
    """With a valid key; one that is replaced in time still works until the service restarts."""
    kept = credentials(await ensure(stored=None))
    await execute(auth_engine, LOSSES[loss])
    repaired = credentials(await ensure(stored=kept))
    assert repaired.api_key != kept.api_key
    assert await scope(api, repaired) == "replays:write users:reconcile"
    assert (await scope(api, kept) is not None) is (loss == "last_third")
    assert await ensure(stored=repaired) is None


async def test_a_lost_key_is_replaced_any_number_of_times(
    ensure: Any, api: httpx.AsyncClient, auth_engine: AsyncEngine
) -> None:
    """The account stays the same, and never has more than two live keys; both work."""
    lost = [Credentials("svc_0000000000000000", ""), Credentials("", "usersync_x"), None, None]
    made = [credentials(await ensure(stored=kept)) for kept in lost]
    assert len({each.id for each in made}) == 1
    assert [await scope(api, each) is not None for each in made] == [False, False, True, True]
    assert len(await fetch(auth_engine, "SELECT 1 FROM api_keys WHERE revoked_at IS NULL")) == 2


async def test_a_scope_is_added_and_never_taken_away(
    ensure: Any, api: httpx.AsyncClient, auth_engine: AsyncEngine
) -> None:
    """An account of an older installation gets the missing scopes, and an audit entry."""
    kept = credentials(await ensure(stored=None, scopes=("posts:write",)))
    assert await ensure(stored=kept) is None
    assert await ensure(stored=kept, scopes=("users:reconcile",)) is None
    assert await scope(api, kept) == "posts:write replays:write users:reconcile"
    query = "SELECT subject, details FROM audit_log WHERE action = 'scopes_added'"
    [entry] = await fetch(auth_engine, query)
    assert entry == (kept.id, {"scopes": ["replays:write", "users:reconcile"]})


def test_one_at_a_time_replaces_the_files(tmp_path: Path) -> None:
    """Of two concurrent runs, the second finds the result of the first."""
    folder = tmp_path / "keys"
    with credential_files(folder) as files:
        files.save(Credentials("svc_1", "key"))
        with folder_descriptor(folder) as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with credential_files(folder) as files:
        assert files.load() == Credentials("svc_1", "key")


async def test_a_folder_that_cannot_be_used_is_one_sentence(
    api_environment: dict[str, str], auth_engine: AsyncEngine, tmp_path: Path
) -> None:
    """No key is created that could not be stored."""
    (tmp_path / "file").touch()
    ended = await asyncio.to_thread(run, f"{COMMAND} {tmp_path}/file", api_environment, tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"{tmp_path}/file cannot be used")
    assert ended.stderr.count("\n") == 1
    assert not await fetch(auth_engine, "SELECT 1 FROM service_accounts")


@pytest.mark.parametrize(("days_left", "is_enough"), [(90, True), (31, True), (30, False)])
def test_a_key_lasts_until_the_last_third_of_its_life(days_left: int, is_enough: bool) -> None:
    """A key of 90 days is replaced in the last 30."""
    now = datetime(2026, 4, 1, tzinfo=UTC)
    end = now + timedelta(days=days_left)
    key = KeyRecord(
        key_id="7hQ2mZx0RkTb",
        service_id="svc_4fJk0Zr9QmWc2xLp",
        created_at=end - timedelta(days=90),
        expires_at=end,
        last_used_at=None,
        revoked_at=None,
    )

    assert lasts(key, now) is is_enough


def in_folder(folder: Path) -> Credentials:
    return Credentials((folder / "service-id").read_text(), (folder / "api-key").read_text())


@contextmanager
def folder_descriptor(folder: Path) -> Iterator[int]:
    """The folder, opened as another process would."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
