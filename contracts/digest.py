"""Digests of users, by which two tables are compared without sending them.

A row's digest is the first half of the SHA-256 of its canonical text; a bucket's digest is the XOR
of those of its rows, a user's bucket the last twelve bits of his id. PostgreSQL computes them on
both sides with the SQL below, the same in every server version, locale and time zone;
``row_digest`` is the reference, and ``tests/unit/test_digest.py`` has vectors.

The canonical text is UTF-8. A field is ``LENGTH:TEXT``, its length in bytes, or ``-`` for null:

- a living user: ``U``, id, version, email, email_verified (``t`` or ``f``), roles, status,
  tokens_valid_after, created_at, updated_at;
- a tombstone: ``T``, id, version, deleted_at, whatever else its row may hold;
- a provisional user, whom the source never has: ``P``, id.

A time is the integer of microseconds since 1970; roles are one field, in which each role is a field
in turn, without duplicates and in the order of their bytes.

Not here: asking a database (each service's ``reconcile``).
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self
from uuid import UUID

from contracts.events import UserState, UserTombstone

BUCKETS: Final = 4096
"""With a million users 244 a bucket: one that differs costs some 80 KB, and all digests together
64 KB."""

DIGEST_BYTES: Final = 16
"""Half a SHA-256: two different buckets agree by chance once in 2^128."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def bucket_of(user_id: UUID) -> int:
    """The bucket of a user, from 0 to ``BUCKETS`` - 1."""
    return user_id.int % BUCKETS


def row_digest(state: UserState | UserTombstone) -> bytes:
    """The digest of a user's row, ``DIGEST_BYTES`` long: the reference for ``ROW_DIGEST``."""
    return hashlib.sha256(canonical_text(state).encode()).digest()[:DIGEST_BYTES]


def canonical_text(state: UserState | UserTombstone) -> str:
    """What the digest of a row is made of."""
    if isinstance(state, UserTombstone):
        dead = (str(state.id), str(state.version), _microseconds(state.deleted_at))
        return "T" + "".join(map(_field, dead))
    roles = sorted({role.encode() for role in state.roles})
    values = [
        str(state.id),
        str(state.version),
        state.email,
        "t" if state.email_verified else "f",
        "".join(_field(role.decode()) for role in roles),
        state.status,
        None if state.tokens_valid_after is None else _microseconds(state.tokens_valid_after),
        _microseconds(state.created_at),
        _microseconds(state.updated_at),
    ]
    return "U" + "".join(map(_field, values))


def _field(value: str | None) -> str:
    return "-" if value is None else f"{len(value.encode())}:{value}"


def _microseconds(instant: datetime) -> str:
    return str((instant - _EPOCH) // _MICROSECOND)


def _text_sql(column: str) -> str:
    return f"coalesce(octet_length({column}) || ':' || {column}, '-')"


def _number_sql(number: str) -> str:
    return _text_sql(f"({number})::text")


def _time_sql(column: str) -> str:
    return _number_sql(f"(extract(epoch FROM {column}) * 1000000)::bigint")


ROLES_FUNCTION: Final = """
    CREATE FUNCTION digest_roles(roles text[]) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
        SELECT octet_length(listed) || ':' || listed
        FROM (
            SELECT coalesce(
                string_agg(octet_length(role) || ':' || role, '' ORDER BY role COLLATE "C"), ''
            ) AS listed
            FROM (SELECT DISTINCT unnest(roles) AS role) AS distinct_roles
        ) AS field
    $$
"""
"""A function, since a subquery in its place would keep PostgreSQL from working in parallel. Both
services' migrations create it, each from a copy of its own."""


def bucket_sql(row: str = "users") -> str:
    """SQL for the bucket of the row that ``row`` names; both tables have an index on it."""
    packed = f"uuid_send({row}.id)"
    return f"(((get_byte({packed}, 14) & 15) << 8) | get_byte({packed}, 15))"


def row_digest_sql(row: str = "users") -> str:
    """SQL for the digest, a ``bit(128)``, of the row that ``row`` names."""
    living = ", ".join(
        [
            f"'U36:', {row}.id",
            _number_sql(f"{row}.version"),
            _text_sql(f"{row}.email"),
            f"'1:', {row}.email_verified",
            f"CASE WHEN {row}.roles = '{{}}' THEN '0:' ELSE digest_roles({row}.roles) END",
            _text_sql(f"{row}.status"),
            _time_sql(f"{row}.tokens_valid_after"),
            _time_sql(f"{row}.created_at"),
            _time_sql(f"{row}.updated_at"),
        ]
    )
    tombstone = ", ".join(
        [f"'T36:', {row}.id", _number_sql(f"{row}.version"), _time_sql(f"{row}.deleted_at")]
    )
    text = (
        f"CASE WHEN {row}.deleted_at IS NOT NULL THEN concat({tombstone})"
        f" WHEN {row}.status = 'provisional' THEN concat('P36:', {row}.id)"
        f" ELSE concat({living}) END"
    )
    return f"('x' || encode(sha256(convert_to({text}, 'UTF8')), 'hex'))::bit(128)"


DIGESTS: Final = f"""
    SELECT {bucket_sql()} AS bucket,
           count(*) FILTER (WHERE deleted_at IS NULL) AS users,
           count(*) FILTER (WHERE deleted_at IS NOT NULL) AS tombstones,
           bit_xor({row_digest_sql()})::text AS digest
    FROM users GROUP BY 1
"""  # noqa: S608 - made of constants
"""SQL for the digests of all buckets that hold somebody, each as 128 binary digits."""


@dataclass(frozen=True, slots=True)
class Digests:
    """What one table holds, as of one snapshot.

    ``buckets`` has the digests of all buckets one after the other; of an empty one it is zero.
    """

    users: int
    tombstones: int
    buckets: bytes

    @classmethod
    def of_rows(cls, rows: Iterable[tuple[int, int, int, str]]) -> Self:
        """From the rows of ``DIGESTS``."""
        users = tombstones = 0
        buckets = bytearray(BUCKETS * DIGEST_BYTES)
        for bucket, living, dead, digest in rows:
            users += living
            tombstones += dead
            place = slice(bucket * DIGEST_BYTES, (bucket + 1) * DIGEST_BYTES)
            buckets[place] = int(digest, 2).to_bytes(DIGEST_BYTES, "big")
        return cls(users, tombstones, bytes(buckets))

    def differing(self, other: "Digests") -> list[int]:
        """The buckets whose digests are not the same, in ascending order."""
        pairs = zip(self._each(), other._each(), strict=True)  # noqa: SLF001 - another of the same
        return [bucket for bucket, (ours, theirs) in enumerate(pairs) if ours != theirs]

    def _each(self) -> Iterable[bytes]:
        return (
            self.buckets[start : start + DIGEST_BYTES]
            for start in range(0, BUCKETS * DIGEST_BYTES, DIGEST_BYTES)
        )
