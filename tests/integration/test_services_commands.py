"""The commands ``auth-service services …``, run by operators and scripts."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from service_kit.process.actors import operator
from tests.support.auth_api import AuthApi
from tests.support.in_turn import in_turn
from tests.support.processes import run

CREATE = "create feed --scope posts:write --scope users:reconcile"
ISSUED = {"id", "name", "scopes", "key_id", "api_key", "expires_at"}


@pytest.fixture
def services(api_environment: dict[str, str], tmp_path: Path) -> Any:
    async def services(arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = f"auth-service services {arguments}"
        return await asyncio.to_thread(run, command, {**api_environment, **more}, tmp_path)

    return services


async def as_json(services: Any, arguments: str) -> dict[str, Any]:
    ended = await services(f"{arguments} --json")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("\n") == 1
    figures: dict[str, Any] = json.loads(ended.stdout)
    return figures


async def test_the_life_of_a_key(services: Any, api: AuthApi) -> None:
    first = await as_json(services, CREATE)
    assert first.keys() == ISSUED

    second = await as_json(services, "rotate-key feed")
    assert second["id"] == first["id"]
    assert second.keys() == ISSUED
    third = await services(f"rotate-key {first['id']}")
    assert third.returncode == 1
    assert first["key_id"] in third.stderr
    assert third.stdout == ""

    async def granted() -> list[int]:
        keys = [(each["id"], each["api_key"]) for each in (first, second)]
        grant = {"grant_type": "client_credentials"}
        return [(await api.post("/oauth/token", data=grant, auth=k)).status_code for k in keys]

    assert await granted() == [200, 200]
    revoked = await services(f"revoke-key {first['key_id']}")
    assert (revoked.returncode, revoked.stdout) == (0, f"{first['key_id']} is revoked\n")
    again = await as_json(services, f"revoke-key {first['key_id']}")
    assert again == {"key_id": first["key_id"], "state": "revoked"}
    assert await granted() == [401, 200]

    for command, state in (("disable", "disabled"), ("enable", "active")):
        changed = await as_json(services, f"{command} feed")
        assert (changed["id"], changed["status"]) == (first["id"], state)

    [listed] = (await as_json(services, "list"))["items"]
    assert (listed["id"], listed["name"]) == (first["id"], "feed")
    assert listed["scopes"] == ["posts:write", "users:reconcile"]
    keys = {key["key_id"]: key for key in listed["keys"]}
    assert keys.keys() == {first["key_id"], second["key_id"]}
    assert keys[first["key_id"]]["revoked_at"]
    assert keys[second["key_id"]]["revoked_at"] is None
    assert keys[second["key_id"]]["last_used_at"]
    assert keys[second["key_id"]]["expires_at"] == second["expires_at"]

    rows = await api.fetch("SELECT DISTINCT actor FROM audit_log")
    assert [row.actor for row in rows] == [operator()]


async def test_people_see_the_key_once(services: Any) -> None:
    """And for how long it is valid, which ``AUTH_API_KEY_DAYS`` sets."""
    created = await services("create feed --scope posts:write", AUTH_API_KEY_DAYS="1")
    [key] = [line.split()[-1] for line in created.stdout.splitlines() if "API key" in line]
    [expires] = [line for line in created.stdout.splitlines() if line.startswith("expires")]
    unused = await services("list")
    rotated = await services("rotate-key feed")

    assert (created.returncode, unused.returncode, rotated.returncode) == (0, 0, 0)
    assert key.startswith("usersync_")
    _, key_id, secret, _ = key.split("_")
    assert secret not in unused.stdout + rotated.stdout
    [row] = [line for line in unused.stdout.splitlines() if key_id in line]
    assert "never used" in row
    assert expires.removeprefix("expires").strip() in row
    assert "usersync_" in rotated.stdout
    assert created.stderr == unused.stderr == rotated.stderr == ""


@in_turn(
    ("arguments", "code", "words"),
    [
        ("create _feed --scope posts:write", 1, "invalid name"),
        ("create blog --scope posts:read", 1, "users:reconcile"),
        (CREATE, 1, "feed already"),
        ("rotate-key blog", 1, "no service account blog"),
        ("revoke-key 000000000000", 1, "no API key 000000000000"),
        ("create blog", 2, "--scope"),
    ],
)
async def test_refusals_are_sentences(services: Any, arguments: str, code: int, words: str) -> None:
    """A missing option is an error of the command line; hashes need a secret."""
    await services(CREATE)
    ended = await services(arguments)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert words in ended.stderr
    assert code == 2 or ended.stderr.count("\n") == 1


async def test_without_a_secret_it_says_so(services: Any) -> None:
    ended = await services("list", AUTH_PRIVATE_KEY="")
    assert ended.returncode == 2
    assert "AUTH_PRIVATE_KEY" in ended.stderr
