"""A change by hand in the blog's database is named within seconds, and an operator repairs it."""

import json
from collections.abc import AsyncIterator

import pytest

from tests.support.eventually import eventually
from tests.support.inbox import execute, fetch
from tests.support.processes import run
from tests.support.system import System
from tests.support.whole import Whole, running

NAMED_WITHIN_SECONDS = 20.0


@pytest.fixture
async def whole(system: System) -> AsyncIterator[Whole]:
    settings = {
        "AUTH_HEARTBEAT_SECONDS": 1,
        "BLOG_HEARTBEAT_SECONDS_MAX": 3,
        "BLOG_CERTIFICATE_SECONDS": 0.5,
    }
    async with running(system, **settings) as whole:
        yield whole


async def test_a_row_changed_by_hand_is_named_by_the_status(whole: Whole) -> None:
    await eventually(whole.is_proved)
    [row] = await fetch(whole.blog, "SELECT id FROM users WHERE status = 'active' LIMIT 1")
    await execute(
        whole.blog, f"UPDATE users SET email_verified = NOT email_verified WHERE id = '{row.id}'"
    )

    await eventually(whole.differs, within=NAMED_WITHIN_SECONDS)
    _, shown = await whole.command("blog-service status")
    checked, _ = await whole.command("blog-service status --check")
    repaired, _ = await whole.command("blog-service reconcile --repair")
    await eventually(whole.is_proved)

    first, named, *_ = shown.splitlines()
    assert first.startswith("proved "), shown
    assert first.endswith(" 1 differ (1 corrupt: blog-service reconcile --repair)"), shown
    assert named.split()[:2] == [str(row.id), "corrupt"]
    assert (checked, repaired) == (1, 0)


async def test_a_chain_is_verified_offline(whole: Whole) -> None:
    """With two files and no settings; a key that is revoked later ends what it signed."""
    await eventually(lambda: _has_certificates(whole, 4))
    keys, chain = whole.system.folder / "keys.json", whole.system.folder / "chain.txt"
    exported = keys.write_text((await whole.command("auth-service keys export"))[1])
    chain.write_text((await whole.command("blog-service proofs list --raw"))[1])
    offline = f"blog-service proofs verify {chain} --keys {keys}"
    verified = run(offline, {}, whole.system.folder)
    lines = chain.read_text().splitlines()
    chain.write_text("\n".join([*lines[:1], *lines[2:]]))
    shortened = run(offline, {}, whole.system.folder)
    by_database, _ = await whole.command("blog-service proofs verify")
    key = json.loads(keys.read_text())["keys"][0]["kid"]
    await whole.command(f"auth-service keys revoke {key}")
    revoked = await whole.figures("blog-service proofs verify")

    assert exported
    assert verified.returncode == by_database == 0, verified.stdout + verified.stderr
    assert "certificates, number 1 to" in verified.stdout
    assert "proved equal: 100 % of this time" in verified.stdout
    assert shortened.returncode == 1
    assert "certificate 3 " in shortened.stdout
    assert "does not follow certificate 1: what was between was left out" in shortened.stdout
    assert "revoked_key" in {finding["fault"] for finding in revoked["findings"]}
    assert run(offline.replace(str(keys), str(chain)), {}, whole.system.folder).returncode == 2


async def _has_certificates(whole: Whole, number: int) -> bool:
    return len((await whole.figures("blog-service proofs list"))["items"]) >= number
