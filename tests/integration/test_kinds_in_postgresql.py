"""Test that PostgreSQL classifies and repairs users as the pure functions say.

``replica.reconcile.kinds`` decides for one user; the comparison decides in SQL for thousands at a
time. Every combination of a small domain is one user here, and all of them are one batch.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from blog_service.replica_of_users import USERS
from blog_service.settings import ReconcileSettings
from contracts.sync.merge import State, rank
from replica.reconcile.classify_and_repair import BATCH_PAGES, classify_and_repair
from replica.reconcile.fill import FILL_PAGES, fill
from replica.reconcile.kinds import IN_FLIGHT, Difference, Row, difference, is_as_compared, unknown
from replica.reconcile.model import AS_COMPARED, NEWER, Kind, Tally, repairable
from replica.reconcile.orphans import repair_orphans
from replica.reconcile.session import session
from tests.support.builders import NOON, a_state, a_tombstone
from tests.support.inbox import fetch

ALL = repairable(repair=True, ahead=True, orphans=True)

SOURCES = [(version, form) for version in (1, 2) for form in ("living", "deleted")]
"""A version and a form of each row that the source may have; the replica has more of both."""

FORMS = ("living", "changed", "deleted", "deleted later")
OURS = [None, (0, "provisional"), *product((1, 2, 3), FORMS)]

BEFORE = [None, Row(0, False), *(Row(*each) for each in product((1, 2, 3), (False, True)))]


@dataclass(frozen=True)
class Case:
    """One user: what each look at them shows."""

    id: UUID
    source: State | None
    is_unpublished: bool
    before: Row | None
    now: State | None
    is_provisional: bool

    @property
    def difference(self) -> Difference | None:
        now = Row(0, False) if self.is_provisional else _row(self.now)
        if self.source is None:
            return unknown(self.before, now)
        source = _row(self.source)
        assert source is not None
        seen = {"is_equal": self.source == self.now, "is_unpublished": self.is_unpublished}
        return difference(source, self.before, now, **seen)


def _row(state: State | None) -> Row | None:
    return None if state is None else Row(state.version, hasattr(state, "deleted_at"))


def _state(user_id: UUID, version: int, form: str) -> State:
    match form:
        case "living":
            return a_state(user_id, version)
        case "changed":
            return a_state(user_id, version, email_verified=True)
        case "deleted":
            return a_tombstone(user_id, version)
        case _:
            at = NOON + timedelta(microseconds=1)
            return a_tombstone(user_id, version).model_copy(update={"deleted_at": at})


def _cases() -> Iterator[Case]:
    known = product(SOURCES, (False, True), BEFORE, OURS)
    strangers = product([None], [False], BEFORE, OURS)
    for number, (source, is_unpublished, before, ours) in enumerate([*known, *strangers]):
        user_id = UUID(int=number)
        is_provisional = ours == (0, "provisional")
        yield Case(
            user_id,
            None if source is None else _state(user_id, *source),
            is_unpublished,
            before,
            None if ours is None or is_provisional else _state(user_id, *ours),
            is_provisional,
        )


CASES = list(_cases())

_EMPTY: dict[str, object] = {
    "email_verified": False,
    "roles": [],
    **dict.fromkeys(("email", "tokens_valid_after", "created_at", "updated_at", "deleted_at")),
}


def _provisional(user_id: UUID) -> dict[str, object]:
    return _EMPTY | {"id": str(user_id), "version": 0, "status": "provisional"}


def _columns(state: State) -> dict[str, object]:
    status = {"status": "deleted"} if hasattr(state, "deleted_at") else {}
    return _EMPTY | status | state.model_dump(mode="json")


async def _insert(
    connection: AsyncConnection, table: str, columns: str, rows: list[dict[str, object]]
) -> None:
    insert = text(
        f"INSERT INTO {table} ({columns}) SELECT {columns}"
        f" FROM json_populate_recordset(CAST(NULL AS {table}), CAST(:rows AS json))"
    )
    await connection.execute(insert, {"rows": json.dumps(rows)})


async def _arrange(connection: AsyncConnection) -> None:
    columns = ", ".join(USERS.columns)
    async with connection.begin():
        ours = [_columns(case.now) for case in CASES if case.now]
        provisional = [_provisional(case.id) for case in CASES if case.is_provisional]
        await _insert(connection, "users", columns, ours + provisional)
        seen = [{"id": str(case.id), **case.before._asdict()} for case in CASES if case.before]
        await _insert(connection, "seen", "id, version, is_deleted", seen)
        staged = [
            _columns(case.source) | {"unpublished": case.is_unpublished}
            for case in CASES
            if case.source
        ]
        await _insert(connection, "staged", f"{columns}, unpublished", staged)


def _expected(kinds: frozenset[Kind]) -> tuple[dict[Kind, set[UUID]], int]:
    """Who differs in one of these ways, and how many are in flight."""
    told = {case.id: case.difference for case in CASES}
    named = {kind: {user for user, each in told.items() if each == kind} for kind in kinds}
    return named, sum(each == IN_FLIGHT for each in told.values())


def _named(tally: Tally) -> dict[Kind, set[UUID]]:
    return {kind: {finding.user_id for finding in each} for kind, each in tally.listed.items()}


async def _compare(connection: AsyncConnection, repairs: frozenset[Kind]) -> Tally:
    tally = Tally()
    await repair_orphans(USERS, [connection], repairs, len(CASES), tally)
    await classify_and_repair(USERS, connection, 0, BATCH_PAGES, repairs, tally)
    return tally


def _repaired(case: Case, row: tuple[int, bool] | None) -> bool:
    """Whether the replica has what the repair of a case's kind leads to."""
    kind = case.difference
    if kind is Kind.PROVISIONAL_ORPHAN:
        return row is None
    if kind is Kind.ORPHAN:
        assert case.now is not None
        return row == (case.now.version + 1, True)
    wanted = case.source if kind in NEWER | AS_COMPARED else case.now
    if wanted is None and case.is_provisional:
        return row == (0, False)
    return row == _row(wanted)


async def test_postgresql_decides_as_the_pure_functions(
    blog_url: str, blog_engine: AsyncEngine
) -> None:
    """Every kind, the guards' outcome, and the rows after the repairs, for all combinations."""
    settings = ReconcileSettings(_env_file=None, database_url=blog_url)
    named, in_flight = _expected(frozenset(Kind))
    async with session(settings) as connection:
        await _arrange(connection)
        looked = await _compare(connection, frozenset())
        repaired = await _compare(connection, ALL)

    assert len(CASES) == (len(SOURCES) * 2 + 1) * len(BEFORE) * len(OURS)
    assert all(named.values()), "the domain shows every kind"
    assert (_named(looked), looked.in_flight) == (named, in_flight)
    assert (_named(repaired), repaired.in_flight) == (named, in_flight)
    assert repaired.repaired == {kind: len(named[kind]) for kind in ALL}
    assert await _unrepaired(blog_engine) == []


async def test_a_fill_changes_nothing_about_the_outcome(
    blog_url: str, blog_engine: AsyncEngine
) -> None:
    """It writes those without a row, and the others are told apart as always."""
    settings = ReconcileSettings(_env_file=None, database_url=blog_url)
    named, in_flight = _expected(frozenset(Kind))
    absent = [case for case in CASES if case.now is None and not case.is_provisional]
    wanted = {case.id for case in absent if case.source is not None and not case.is_unpublished}
    tally = Tally()
    async with session(settings) as connection:
        await _arrange(connection)
        await repair_orphans(USERS, [connection], ALL, len(CASES), tally)
        left = await fill(USERS, connection, 0, FILL_PAGES, tally)
        filled = tally.repaired[Kind.MISSING]
        await classify_and_repair(USERS, connection, 0, FILL_PAGES, ALL, tally, left)

    assert left is not None
    assert set(left) == {case.id for case in CASES if case.source is not None} - wanted
    assert filled == len(wanted) > 0
    assert tally.differing == {kind: len(users) for kind, users in named.items()}
    assert tally.repaired == {kind: len(named[kind]) for kind in ALL}
    assert tally.in_flight == in_flight
    assert await _unrepaired(blog_engine) == []


async def test_a_fill_that_meets_a_held_row_leaves_the_batch_to_the_classification(
    blog_url: str, blog_engine: AsyncEngine
) -> None:
    """An event of one of these users is being applied, and does not come to an end."""
    settings = ReconcileSettings(_env_file=None, database_url=blog_url)
    held, *free = (a_state(UUID(int=number)) for number in range(1, 4))
    tally = Tally()
    async with session(settings) as connection, blog_engine.connect() as other:
        staged = [_columns(each) | {"unpublished": False} for each in (held, *free)]
        async with connection.begin():
            columns = ", ".join([*USERS.columns, "unpublished"])
            await _insert(connection, "staged", columns, staged)
        await USERS.write(other, [held])
        left = await fill(USERS, connection, 0, FILL_PAGES, tally)
        await other.commit()
        await classify_and_repair(USERS, connection, 0, FILL_PAGES, ALL, tally, left)

    assert left is None
    assert tally.repaired == {Kind.MISSING: len(free)}
    rows = await fetch(blog_engine, "SELECT id FROM users")
    assert {row.id for row in rows} == {each.id for each in (held, *free)}


async def _unrepaired(engine: AsyncEngine) -> list[Case]:
    found = await fetch(engine, "SELECT id, version, deleted_at IS NOT NULL AS dead FROM users")
    rows = {row.id: (row.version, row.dead) for row in found}
    return [case for case in CASES if not _repaired(case, rows.get(case.id))]


@dataclass(frozen=True)
class Write:
    """A state that meets a present row, and the version that was compared before."""

    id: UUID
    ours: tuple[int, str] | None
    compared: int
    coming: tuple[int, str]

    @property
    def is_newer(self) -> bool:
        now = self._now
        return now is None or (now.is_deleted, now.version) < rank(_state(self.id, *self.coming))

    @property
    def is_as_compared(self) -> bool:
        """Whether the other guard does; the row that was compared had the form of what comes."""
        coming = _row(_state(self.id, *self.coming))
        assert coming is not None
        return is_as_compared(self._now, Row(self.compared, coming.is_deleted), coming)

    @property
    def present(self) -> dict[str, object]:
        assert self.ours is not None
        return _columns(_state(self.id, *self.ours)) if self.ours[0] else _provisional(self.id)

    @property
    def _now(self) -> Row | None:
        return None if self.ours is None else Row(self.ours[0], self.ours[1].startswith("deleted"))


_COMBINED = product(OURS, (0, 1, 2, 3), product((1, 2, 3), ("living", "deleted")))
WRITES = [Write(UUID(int=number), *each) for number, each in enumerate(_COMBINED)]

_COMING = """(
    SELECT state.*, compared.compared_version
    FROM json_populate_recordset(CAST(NULL AS users), CAST(:rows AS json)) AS state
    JOIN json_to_recordset(CAST(:rows AS json)) AS compared (id uuid, compared_version bigint)
        USING (id)
    ORDER BY id
)"""


async def test_the_guards_of_the_writer_are_the_pure_functions(blog_engine: AsyncEngine) -> None:
    """Every present row meets every state, under *newer* and under *as compared*."""
    coming = [
        _columns(_state(each.id, *each.coming)) | {"compared_version": each.compared}
        for each in WRITES
    ]
    expected = {
        USERS.write_if_newer_sql(_COMING): {each.id for each in WRITES if each.is_newer},
        USERS.write_as_compared_sql(_COMING): {each.id for each in WRITES if each.is_as_compared},
    }
    for statement, ids in expected.items():
        async with blog_engine.connect() as connection:
            present = [each.present for each in WRITES if each.ours is not None]
            await _insert(connection, "users", ", ".join(USERS.columns), present)
            written = await connection.execute(text(statement), {"rows": json.dumps(coming)})
            assert set(written.scalars()) == ids
            await connection.rollback()
