"""Compare two tables of users by digests, without sending the rows.

A row has two digests, each the first half of a SHA-256: of its state, over all replicated fields,
and of its version, over id, version and deletion alone. A replica with fewer columns has only the
second; a version determines its content as long as the library alone writes the table. A digest is
four lanes of 32 bits, big-endian. A user's bucket is the last twelve bits of the id. A bucket's
digest is the sum of the digests of its rows, lane by lane, modulo 2^32: a row that is counted twice
does not cancel itself, as it would with XOR. This module is the reference for what PostgreSQL
computes on both sides (``digest_sql``); ``tests/unit/test_digest.py`` has vectors.

The canonical form of a state is a letter and fields, with nothing between them:

- a live user: ``U``, id, version, email, email_verified, roles, status, tokens_valid_after,
  created_at, updated_at;
- a tombstone: ``T``, id, version, deleted_at; its other columns do not count;
- a row that lacks one of these fields, such as a provisional user: ``X``, id.

The canonical form of a version is ``L`` for a live user and ``D`` for a tombstone, id, version.

An id is its 16 bytes. Integers are big-endian: a version in 8 bytes, a time as microseconds since
2000-01-01T00:00:00Z in 8 bytes. A boolean is one byte, 1 or 0. A text is its length in characters,
in 4 bytes, and its UTF-8. Roles are their number, in 4 bytes, and each role as a text, without
duplicates, ordered by bytes. ``tokens_valid_after`` is a 1 and the time, or a 0 for null. So no two
states have the same form.

Not here: SQL (``digest_sql``), tables that keep digests (``maintained_digests``), asking a database
(each service's ``reconcile``).
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple, Self
from uuid import UUID

from contracts.events import UserState, UserTombstone

VERSION: Final = 2
"""The version of these digests; both sides of a comparison must have the same."""

BUCKETS: Final = 4096
"""With a million users, 244 in a bucket: a differing bucket costs some 80 KB, all digests 64 KB."""

DIGEST_BYTES: Final = 16
"""Half a SHA-256: two different buckets agree by chance once in 2^128."""

GROUPS: Final = 64
"""Of as many neighbouring buckets: with few differences, groups tell which buckets to look at."""

LANES: Final = 4
"""Numbers of 32 bits in a digest."""

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class DigestKind(StrEnum):
    """What the digests of a table cover: whole states, or versions alone."""

    STATE = "state"
    VERSIONS = "versions"


def kinds_of(*, has_all_fields: bool) -> tuple[DigestKind, ...]:
    """The kinds of digests that a table has."""
    return tuple(DigestKind) if has_all_fields else (DigestKind.VERSIONS,)


def bucket_of(user_id: UUID) -> int:
    """The bucket of a user, from 0 to ``BUCKETS`` - 1."""
    return user_id.int % BUCKETS


def row_digest(state: UserState | UserTombstone) -> bytes:
    """Compute the digest of a user's state; the reference for ``state_hash_sql``."""
    return hashlib.sha256(canonical_form(state)).digest()[:DIGEST_BYTES]


def version_digest(user_id: UUID, version: int, *, is_deleted: bool) -> bytes:
    """Compute the digest of a user's version; the reference for ``version_hash_sql``."""
    form = (b"D" if is_deleted else b"L") + user_id.bytes + struct.pack(">q", version)
    return hashlib.sha256(form).digest()[:DIGEST_BYTES]


def canonical_form(state: UserState | UserTombstone) -> bytes:
    """Encode the state that a digest is computed from."""
    begin = state.id.bytes + struct.pack(">q", state.version)
    if isinstance(state, UserTombstone):
        return b"T" + begin + _time(state.deleted_at)
    roles = sorted(set(state.roles), key=str.encode)
    since = state.tokens_valid_after
    return b"".join(
        [
            b"U",
            begin,
            _text(state.email),
            b"\1" if state.email_verified else b"\0",
            struct.pack(">i", len(roles)),
            *map(_text, roles),
            _text(state.status),
            b"\0" if since is None else b"\1" + _time(since),
            _time(state.created_at),
            _time(state.updated_at),
        ]
    )


def _text(text: str) -> bytes:
    return struct.pack(">i", len(text)) + text.encode()


def _time(instant: datetime) -> bytes:
    return struct.pack(">q", (instant - _EPOCH) // _MICROSECOND)


class PackedDigests(NamedTuple):
    """Digests of one kind, of some buckets or of all groups, and the counts of the whole table."""

    users: int
    tombstones: int
    packed: bytes


@dataclass(frozen=True, slots=True)
class Digests:
    """The digests of one table in one snapshot.

    ``state`` and ``versions`` concatenate the digests of all buckets; an empty bucket has zeros.
    ``state`` is None for a table without all fields; either is None where it was not asked for.
    """

    users: int
    tombstones: int
    state: bytes | None
    versions: bytes | None

    @classmethod
    def of_states(cls, states: Iterable[UserState | UserTombstone]) -> Self:
        """Compute the digests of a table; the reference for SQL."""
        users = tombstones = 0
        state, versions = _Sums(), _Sums()
        for each in states:
            is_deleted = isinstance(each, UserTombstone)
            tombstones += is_deleted
            users += not is_deleted
            bucket = bucket_of(each.id)
            state.add(bucket, row_digest(each))
            versions.add(bucket, version_digest(each.id, each.version, is_deleted=is_deleted))
        return cls(users, tombstones, state.packed(), versions.packed())

    @property
    def rows(self) -> int:
        """The number of rows of the table."""
        return self.users + self.tombstones

    @property
    def root(self) -> str:
        """The SHA-256 of the digests over all fields, in hexadecimal.

        Raises:
            ValueError: there are none.
        """
        return self.root_of(DigestKind.STATE)

    @property
    def versions_root(self) -> str:
        """The SHA-256 of the digests of versions, likewise."""
        return self.root_of(DigestKind.VERSIONS)

    def root_of(self, kind: DigestKind) -> str:
        """Return the root of one kind of digests; raises ``ValueError`` if there are none."""
        return hashlib.sha256(self.buckets(kind)).hexdigest()

    def buckets(self, kind: DigestKind) -> bytes:
        """Return the digests of one kind.

        Raises:
            ValueError: there are none.
        """
        found = self.state if kind is DigestKind.STATE else self.versions
        if found is None:
            raise ValueError(f"these digests do not cover {kind}")
        return found

    def packed(self, kind: DigestKind, ranges: Iterable[range]) -> PackedDigests:
        """Return the digests of one kind, of the buckets in ``ranges``."""
        buckets = self.buckets(kind)
        packed = b"".join(
            buckets[part.start * DIGEST_BYTES : part.stop * DIGEST_BYTES] for part in ranges
        )
        return PackedDigests(self.users, self.tombstones, packed)

    def bucket(self, number: int, kind: DigestKind) -> bytes:
        """Return one bucket's digest of one kind; raises ``ValueError`` if there are none."""
        return self.buckets(kind)[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES]

    def groups(self, kind: DigestKind) -> PackedDigests:
        """Return the digests of all groups: half the SHA-256 of their buckets' digests."""
        buckets = self.buckets(kind)
        size = len(buckets) // GROUPS
        parts = (buckets[start : start + size] for start in range(0, len(buckets), size))
        packed = b"".join(hashlib.sha256(part).digest()[:DIGEST_BYTES] for part in parts)
        return PackedDigests(self.users, self.tombstones, packed)

    def differing(self, other: "Digests", kind: DigestKind) -> list[int]:
        """Return the buckets whose digests differ, in ascending order."""
        pairs = zip(each_digest(self.buckets(kind)), each_digest(other.buckets(kind)), strict=True)
        return [bucket for bucket, (ours, theirs) in enumerate(pairs) if ours != theirs]


def difference(one: bytes, other: bytes) -> bytes:
    """Subtract a bucket's digest from another, lane by lane, modulo 2^32.

    Only rows that differ count: what both sides have cancels. So while other users of the bucket
    change on both sides, the difference stays.
    """
    lanes = zip(_LANES.unpack(one), _LANES.unpack(other), strict=True)
    return _LANES.pack(*((a - b) % 2**32 for a, b in lanes))


class _Sums:
    """The sums of digests of each bucket."""

    def __init__(self) -> None:
        self._lanes = [(0,) * LANES] * BUCKETS

    def add(self, bucket: int, digest: bytes) -> None:
        lanes = zip(self._lanes[bucket], _LANES.unpack(digest), strict=True)
        self._lanes[bucket] = tuple((sum_ + lane) % 2**32 for sum_, lane in lanes)

    def packed(self) -> bytes:
        return b"".join(_LANES.pack(*lanes) for lanes in self._lanes)


_LANES: Final = struct.Struct(f">{LANES}I")


def each_digest(packed: bytes) -> Sequence[bytes]:
    """Split packed digests."""
    return [packed[start : start + DIGEST_BYTES] for start in range(0, len(packed), DIGEST_BYTES)]
