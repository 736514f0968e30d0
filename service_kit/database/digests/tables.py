"""The tables of maintained digests. Written by triggers, ``fold`` and ``check``."""

from collections.abc import Callable
from typing import Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Computed,
    Integer,
    LargeBinary,
    MetaData,
    Table,
)
from sqlalchemy.types import TypeEngine

from contracts.sync.digest import BUCKETS, DigestKind
from contracts.sync.digest_sql import LANE_COLUMNS
from contracts.sync.maintained_digests import packed_lanes_sql

USERS_MAX: Final = 1_000_000_000
"""Of one bucket: a count beyond this, or below its negative, was edited by hand."""


class DigestTables(NamedTuple):
    """The tables of one service."""

    digests: Table
    changes: Table


def digest_tables(metadata: MetaData) -> DigestTables:
    """Define the tables of a service."""
    digests = Table(
        "digests",
        metadata,
        Column("bucket", Integer, primary_key=True, autoincrement=False),
        *_sums(BigInteger),
        *(
            Column(kind, LargeBinary, Computed(packed_lanes_sql(kind), persisted=True))
            for kind in DigestKind
        ),
        CheckConstraint(_IN_RANGE, name="bucket"),
        CheckConstraint(
            " AND ".join(
                f"{name} BETWEEN -{USERS_MAX} AND {USERS_MAX}" for name in ("users", "tombstones")
            ),
            name="counts",
        ),
        CheckConstraint(
            " AND ".join(f"{name} BETWEEN 0 AND {2**32 - 1}" for name in LANE_COLUMNS),
            name="lanes",
        ),
        comment="Digests of the users of each bucket; empty buckets may have no row",
    )
    changes = Table(
        "digest_changes",
        metadata,
        Column("bucket", Integer, nullable=False),
        *_sums(Integer),
        CheckConstraint(_IN_RANGE, name="bucket"),
        comment="What statements changed since; appended by triggers, moved to digests by a fold",
    )
    return DigestTables(digests, changes)


_IN_RANGE: Final = f"bucket BETWEEN 0 AND {BUCKETS - 1}"


def _sums(kind: Callable[[], TypeEngine[int]]) -> list[Column[int]]:
    return [Column(name, kind(), nullable=False) for name in ("users", "tombstones", *LANE_COLUMNS)]
