"""The commands ``auth-service services …``, run by operators and scripts."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.process.actors import operator
from tests.support.inbox import fetch
from tests.support.processes import run

CREATE = "create feed --scope posts:write --scope users:reconcile"
ISSUED = {"id", "name", "scopes", "key_id", "api_key", "expires_at"}


@pytest.fixture
def environment(auth_url: str, private_pem: str) -> dict[str, str]:
    return {"AUTH_DATABASE_URL": auth_url, "AUTH_PRIVATE_KEY": private_pem}


@pytest.fixture
def services(environment: dict[str, str], tmp_path: Path) -> Any:
    """Run ``auth-service services …`` to its end."""

    async def services(arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = f"auth-service services {arguments}"
        return await asyncio.to_thread(run, command, {**environment, **more}, tmp_path)

    return services


async def as_json(services: Any, arguments: str) -> dict[str, Any]:
    ended = await services(f"{arguments} --json")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("\n") == 1
    figures: dict[str, Any] = json.loads(ended.stdout)
    return figures


async def gets_a_token(api: httpx.AsyncClient, issued: dict[str, Any]) -> bool:
    answer = await api.post(
        "/oauth/token",
        data={"grant_type": "client_credentials"},
        auth=(issued["id"], issued["api_key"]),
    )
    return answer.status_code == 200


async def test_the_life_of_a_key(
    services: Any, api: httpx.AsyncClient, auth_engine: AsyncEngine
) -> None:
    first = await as_json(services, CREATE)
    assert first.keys() == ISSUED
    assert await gets_a_token(api, first)

    second = await as_json(services, "rotate-key feed")
    assert second["id"] == first["id"]
    assert second.keys() == ISSUED
    third = await services(f"rotate-key {first['id']}")
    assert third.returncode == 1
    assert first["key_id"] in third.stderr
    assert third.stdout == ""

    revoked = await services(f"revoke-key {first['key_id']}")
    assert (revoked.returncode, revoked.stdout) == (0, f"{first['key_id']} is revoked\n")
    assert [await gets_a_token(api, each) for each in (first, second)] == [False, True]

    [listed] = (await as_json(services, "list"))["items"]
    assert (listed["id"], listed["name"]) == (first["id"], "feed")
    assert listed["scopes"] == ["posts:write", "users:reconcile"]
    keys = {key["key_id"]: key for key in listed["keys"]}
    assert keys.keys() == {first["key_id"], second["key_id"]}
    assert keys[first["key_id"]]["revoked_at"]
    assert keys[second["key_id"]]["revoked_at"] is None
    assert keys[second["key_id"]]["last_used_at"]
    assert keys[second["key_id"]]["expires_at"] == second["expires_at"]

    rows = await fetch(auth_engine, "SELECT DISTINCT actor FROM audit_log")
    assert [row.actor for row in rows] == [operator()]


async def test_people_see_the_key_once(services: Any) -> None:
    created = await services("create feed --scope posts:write")
    [key] = [line.split()[-1] for line in created.stdout.splitlines() if "API key" in line]
    unused = await services("list")
    rotated = await services("rotate-key feed")

    assert (created.returncode, unused.returncode, rotated.returncode) == (0, 0, 0)
    assert key.startswith("usersync_")
    _, key_id, secret, _ = key.split("_")
    assert secret not in unused.stdout + rotated.stdout
    assert key_id in unused.stdout
    assert "never used" in unused.stdout
    assert "usersync_" in rotated.stdout
    assert created.stderr == unused.stderr == rotated.stderr == ""


async def test_the_setting_says_how_long_a_key_lasts(services: Any) -> None:
    """``AUTH_API_KEY_DAYS``."""
    ended = await services("create feed --scope posts:write", AUTH_API_KEY_DAYS="1")
    [row] = [line for line in (await services("list")).stdout.splitlines() if "expires" in line]
    [expires] = [line for line in ended.stdout.splitlines() if line.startswith("expires")]
    assert expires.removeprefix("expires").strip() in row


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("create _feed --scope posts:write", "invalid name"),
        ("create feed --scope posts:read", "users:reconcile"),
        ("rotate-key feed", "no service account feed"),
        ("revoke-key 000000000000", "no API key 000000000000"),
    ],
)
async def test_what_cannot_be_is_one_sentence(services: Any, arguments: str, words: str) -> None:
    ended = await services(arguments)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert words in ended.stderr
    assert ended.stderr.count("\n") == 1


async def test_a_name_is_taken_once(services: Any) -> None:
    await as_json(services, CREATE)
    ended = await services(CREATE)
    assert ended.returncode == 1
    assert "feed already" in ended.stderr


async def test_an_account_has_a_scope(services: Any) -> None:
    """The error of the command line names the option."""
    ended = await services("create feed")
    assert ended.returncode == 2
    assert "--scope" in ended.stderr


@pytest.mark.parametrize("command", ["create", "list", "rotate-key", "revoke-key"])
async def test_help_shows_an_example(command: str, tmp_path: Path) -> None:
    """A line to copy, without settings."""
    full = f"auth-service services {command}"
    shown = await asyncio.to_thread(run, f"{full} --help", {"COLUMNS": "200"}, tmp_path)
    assert shown.returncode == 0
    assert full in shown.stdout.partition("Example:")[2]


async def test_without_a_secret_it_says_so(services: Any) -> None:
    """Hashes need one: exit code 2, naming the settings."""
    ended = await services("list", AUTH_PRIVATE_KEY="")
    assert ended.returncode == 2
    assert "AUTH_PRIVATE_KEY" in ended.stderr
