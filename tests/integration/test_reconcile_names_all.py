"""More users differ than a report names: options of the command name all of them."""

import pytest

from tests.support.commands import Command
from tests.support.inbox import execute, fetch
from tests.support.reconciling import DELETED, Pair

UNDONE = 1200
ORPHANS = 1100
"""Both above the thousand of each kind that a stored run has."""


@pytest.fixture
def command(command: Command, pair: Pair) -> Command:
    return command.having(logs=False, **pair.account)


async def _lose_the_last_seconds(pair: Pair) -> tuple[set[str], set[str]]:
    """Let the source have forgotten sign-ups and deletions; return whose."""
    await execute(pair.auth, "TRUNCATE users CASCADE")
    await execute(pair.blog, "TRUNCATE users")
    await pair.fill(UNDONE + ORPHANS + 100, one_in=10_000)
    some = "WHERE id IN (SELECT id FROM users ORDER BY id {} LIMIT {})"
    await execute(pair.blog, f"{DELETED} {some.format('', UNDONE)}")
    await execute(pair.auth, f"DELETE FROM users {some.format('DESC', ORPHANS)}")
    undone = await fetch(pair.blog, "SELECT id FROM users WHERE deleted_at IS NOT NULL")
    there = {str(row.id) for row in await fetch(pair.auth, "SELECT id FROM users")}
    here = {str(row.id) for row in await fetch(pair.blog, "SELECT id FROM users")}
    return {str(row.id) for row in undone}, here - there


async def test_every_user_is_named(pair: Pair, command: Command) -> None:
    undone, orphans = await _lose_the_last_seconds(pair)

    stored = (await command("reconcile --json")).figures
    everyone = await command("reconcile --json --all")
    undone_ids = await command("reconcile --ids undone_deletion")
    orphan_ids = await command(f"reconcile --orphans --max-deletions {ORPHANS} --ids orphan")

    assert len(stored["findings"]) == 2000
    assert everyone.returncode == 1
    found = everyone.figures
    assert {one["user_id"] for one in found["findings"] if one["kind"] == "orphan"} == orphans
    assert len(found["findings"]) == UNDONE + ORPHANS
    assert found.keys() == stored.keys()
    assert found["differing"] == {"orphan": ORPHANS, "undone_deletion": UNDONE}
    assert set(undone_ids.stdout.splitlines()) == undone
    assert "drift: " in undone_ids.stderr
    assert undone_ids.returncode == 1
    assert set(orphan_ids.stdout.splitlines()) == orphans
    assert f"{ORPHANS:,} repaired" in orphan_ids.stderr


async def test_an_object_with_all_findings_is_whole_without_any(command: Command) -> None:
    """Scripts read the same object whether or not anybody differs."""
    ended = await command("reconcile --json --all")
    assert (ended.returncode, ended.figures["findings"]) == (0, [])


async def test_options_that_contradict_each_other_are_refused(command: Command) -> None:
    for options in ("--ids orphan --json", "--all", "--ids everybody"):
        ended = await command(f"reconcile {options}")
        assert (ended.returncode, ended.stdout) == (2, ""), options
