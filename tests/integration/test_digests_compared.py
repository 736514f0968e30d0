"""Comparisons and maintained digests: tombstones that count in none, and digests that are wrong."""

from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.reconcile import routes
from auth_service.reconcile.table import USERS as SOURCE_USERS
from blog_service.replica_of_users import USERS
from contracts.sync.comparison import DigestsBody
from contracts.sync.digest import VERSION, Digests
from replica.reconcile.model import Verdict
from service_kit.database.digests.read import UsersTable, check_digests, read_digests
from tests.support.builders import a_tombstone
from tests.support.database_sessions import committed
from tests.support.inbox import execute, fetch
from tests.support.reconciling import Pair


async def digests(engine: AsyncEngine, users: UsersTable) -> Digests:
    """Return the maintained digests, which must be those of the rows."""
    async with engine.connect() as connection:
        computed, wrong = await check_digests(connection, users)
        maintained = await read_digests(connection)
    assert not wrong
    assert computed == maintained
    return maintained


async def have_one_root(pair: Pair) -> bool:
    """Return whether the maintained digests of both sides prove that they agree."""
    ours, theirs = await digests(pair.blog, USERS.digested), await digests(pair.auth, SOURCE_USERS)
    assert (ours.root == theirs.root) == (ours.versions_root == theirs.versions_root)
    assert (ours.root == theirs.root) <= (ours.rows == theirs.rows)
    return ours.root == theirs.root


async def test_a_buried_orphan_counts_in_no_digest(pair: Pair) -> None:
    """Otherwise the roots would differ permanently; the source's own tombstone counts again."""
    assert await have_one_root(pair)
    [orphan] = await fetch(pair.auth, "SELECT id, version FROM users WHERE version % 1000 = 17")
    await execute(pair.auth, f"DELETE FROM users WHERE id = '{orphan.id}'")
    assert not await have_one_root(pair)

    ended = await pair.reconcile(orphans=True)

    assert (ended.verdict, ended.repaired) == (Verdict.IN_STEP, {"orphan": 1})
    assert await have_one_root(pair)
    assert (await pair.reconcile()).differing == {}

    tombstone = a_tombstone(orphan.id, version=orphan.version + 10)
    await committed(pair.blog, USERS.write, [tombstone])
    assert not await have_one_root(pair)
    await execute(pair.blog, f"DELETE FROM users WHERE id = '{orphan.id}'")
    assert await have_one_root(pair)


async def test_tombstones_that_a_source_lost_count_in_no_digest(pair: Pair) -> None:
    """A comparison learns which ones the source does not know, and that it knows them again."""
    some = "deleted_at IS NOT NULL AND version % 20 = 0"
    lost = f"CREATE TABLE lost AS SELECT * FROM users WHERE {some}"
    await execute(pair.auth, lost, f"DELETE FROM users WHERE {some}")
    assert not await have_one_root(pair)

    unknown = await pair.reconcile()

    assert (unknown.verdict, unknown.differing) == (Verdict.IN_STEP, {})
    assert await have_one_root(pair)
    assert len(await fetch(pair.blog, "SELECT id FROM orphan_tombstones")) == 10

    await execute(pair.auth, "INSERT INTO users SELECT * FROM lost")
    assert not await have_one_root(pair)
    known = await pair.reconcile()

    assert (known.verdict, known.differing) == (Verdict.IN_STEP, {})
    assert await have_one_root(pair)
    assert await fetch(pair.blog, "SELECT id FROM orphan_tombstones") == []


async def test_a_wrong_digest_is_corrected_and_named_on_either_side(pair: Pair) -> None:
    """The verdict comes from the users; the run names the sides whose digests were wrong."""
    disable = "ALTER TABLE users DISABLE TRIGGER digests_delete"
    await pair.damage(disable, "DELETE FROM users WHERE version % 100 = 17")
    await execute(pair.auth, "DELETE FROM digests", "DELETE FROM digest_changes WHERE bucket < 99")

    found = await pair.reconcile(repair=True)
    again = await pair.reconcile()

    assert (found.verdict, found.repaired) == (Verdict.IN_STEP, {"missing": 2}), found.explanation
    explanation = str(found.explanation)
    assert "here, 2 of the maintained digests were wrong" in explanation
    assert "the triggers digests_delete are disabled or missing" in explanation
    assert "at the source, " in explanation
    assert (again.verdict, again.explanation) == (Verdict.IN_STEP, None)
    assert await have_one_root(pair)


async def test_digests_of_another_version_are_no_verdict(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upgrade of one side must not look like drift."""
    for version in (1, VERSION + 1):

        def of(*values: Any, version: int = version, **named: Any) -> DigestsBody:
            return DigestsBody.of(*values, **named).model_copy(update={"version": version})

        monkeypatch.setattr(routes, "DigestsBody", SimpleNamespace(of=of))
        ended = await pair.reconcile()
        assert ended.verdict is Verdict.COULD_NOT_COMPARE
        assert ended.explanation == (
            f"the source speaks version {version} of the digests, and this replica version"
            f" {VERSION}: upgrade the older one"
        )
