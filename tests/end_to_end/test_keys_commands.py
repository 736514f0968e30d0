"""The commands ``auth-service keys …``, run as an operator does."""

import asyncio
import json
import subprocess
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support.auth_api import bearer, signed_up
from tests.support.eventually import eventually
from tests.support.inbox import fetch
from tests.support.processes import run
from tests.support.system import System, at_work

SECRET = "a secret of more than thirty-two characters"
MEMBERS = {
    *("kid", "state", "origin", "bits", "created_at", "may_be_activated_at", "activated_at"),
    *("retired_at", "leaves_at", "revoked_at", "active_for_days"),
}


class Operator:
    """An operator at the command line."""

    def __init__(self, system: System, **settings: str) -> None:
        self._environment = {**system.environment, "AUTH_SECRET": SECRET, **settings}
        self._folder = system.folder

    async def tries(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run ``auth-service keys`` with these arguments."""
        words = f"auth-service keys {command}"
        return await asyncio.to_thread(run, words, self._environment, self._folder)

    async def says(self, command: str) -> str:
        """Run a command that must succeed; return what it prints."""
        done = await self.tries(command)
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def gets(self, command: str) -> dict[str, Any]:
        """Do the same with ``--json``."""
        shown: dict[str, Any] = json.loads(await self.says(f"{command} --json"))
        return shown

    async def is_refused(self, command: str, sentence: str) -> None:
        """Run a command that must fail, with one sentence and nothing else."""
        done = await self.tries(command)
        assert (done.returncode, done.stdout) == (1, "")
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr


@pytest.fixture
def operator(system: System) -> Operator:
    """An operator whose new keys must wait before they are activated."""
    return Operator(system)


async def test_a_rotation_from_the_first_key_to_the_next(
    operator: Operator, auth_engine: AsyncEngine
) -> None:
    """Generate, too soon, wait, activate; a spare is withdrawn; the list shows every state."""
    first = await operator.gets("generate --bits 2048")
    assert first.keys() == MEMBERS
    assert (first["state"], first["origin"], first["bits"]) == ("pending", "database", 2048)
    assert first["may_be_activated_at"] == first["created_at"]
    assert (await operator.gets(f"activate {first['kid']}"))["changed"]

    second = await operator.gets("generate")
    spare = await operator.gets("generate --bits 2048")
    assert second["bits"] == 3072
    assert second["may_be_activated_at"] > second["created_at"]
    await operator.is_refused(f"activate {second['kid']}", "may be activated from")
    activated = await operator.gets(f"activate {second['kid'][:8]} --force")
    assert (activated["state"], activated["former"]) == ("active", first["kid"])
    assert activated["former_leaves_at"] > activated["activated_at"]
    await operator.is_refused(f"retire {second['kid']}", "activate another key")
    assert (await operator.gets(f"retire {spare['kid']}"))["state"] == "retired"
    assert f"{spare['kid']} is retired already" in await operator.says(f"retire {spare['kid']}")

    listed = (await operator.gets("list"))["items"]
    lines = (await operator.says("list")).splitlines()
    assert [key["kid"] for key in listed] == [first["kid"], second["kid"], spare["kid"]]
    assert [key["state"] for key in listed] == ["retired", "active", "retired"]
    assert all(key.keys() == MEMBERS for key in listed)
    assert listed[1]["active_for_days"] == 0
    for key, line in zip(listed, lines, strict=True):
        assert line.startswith(f"{key['kid']}  {key['state']}")
        assert f"{key['bits']} bits, database" in line
    actors = await fetch(auth_engine, "SELECT DISTINCT actor FROM audit_log")
    assert len(actors) == 1
    assert actors[0].actor.startswith("operator:")


async def test_an_emergency_while_the_api_runs(system: System, operator: Operator) -> None:
    """After `keys revoke` the running API refuses the key's tokens and signs with another."""
    api = system.process("auth-service api", AUTH_SECRET=SECRET)
    async with at_work(api), api.client() as client:
        ada = await signed_up(client, "ada@example.org")
        [leaked] = (await client.get("/.well-known/jwks.json")).json()["keys"]

        revoked = await operator.gets(f"revoke {leaked['kid']}")

        async def is_refused() -> bool:
            return (await client.get("/v1/me", headers=bearer(ada))).status_code == 401

        await eventually(is_refused, within=5)
        [successor] = (await client.get("/.well-known/jwks.json")).json()["keys"]
        bob = await signed_up(client, "bob@example.org")
        assert (await client.get("/v1/me", headers=bearer(bob))).status_code == 200

    assert (revoked["state"], revoked["successor"]) == ("revoked", successor["kid"])
    assert "is revoked already" in await operator.says(f"revoke {leaked['kid']}")


async def test_a_key_sealed_without_a_secret_is_warned_of(system: System) -> None:
    """It depends on AUTH_PRIVATE_KEY; the warning does not disturb standard output."""
    done = await system.command("auth-service keys generate --json")
    assert json.loads(done.stdout)["state"] == "pending"
    assert "AUTH_SECRET" in done.stderr
    assert "AUTH_PREVIOUS_SECRET" in done.stderr


async def test_an_id_that_begins_with_a_dash_is_not_an_option(operator: Operator) -> None:
    """One id in 64 does."""
    for command in ("activate", "retire", "revoke"):
        await operator.is_refused(f"{command} -xZ_nobody", "no key's id begins with '-xZ_nobody'")


async def test_the_size_of_a_key_is_bounded(operator: Operator) -> None:
    """Neither weak, nor so long that signing becomes slow."""
    for bits in (2047, 1024, 4097):
        done = await operator.tries(f"generate --bits {bits}")
        assert done.returncode == 2
        assert "--bits" in done.stderr
    assert (await operator.says("list")).startswith("there are no keys yet")


async def test_without_a_key_and_without_a_secret_nothing_can_be_sealed(system: System) -> None:
    """Exit code 2, and both settings are named."""
    environment = dict(system.environment)
    del environment["AUTH_PRIVATE_KEY"]

    for command in ("auth-service keys list", "auth-service api"):
        done = await asyncio.to_thread(run, command, environment, system.folder)

        assert done.returncode == 2
        assert "AUTH_PRIVATE_KEY" in done.stderr
        assert "AUTH_SECRET" in done.stderr
