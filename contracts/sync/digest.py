"""Compare two tables of users by digests, without sending the rows.

A row's digest is the first half of the SHA-256 of its canonical form. A user's bucket is the last
twelve bits of the id. A bucket's digest is the XOR of the digests of its rows. PostgreSQL computes
them on both sides with the SQL below, which gives the same result in every server version,
encoding, locale and time zone. ``row_digest`` is the reference, and ``tests/unit/test_digest.py``
has vectors.

The canonical form is a letter and fields, with nothing between them:

- a live user: ``U``, id, version, email, email_verified, roles, status, tokens_valid_after,
  created_at, updated_at;
- a tombstone: ``T``, id, version, deleted_at; its other columns do not count;
- a row that lacks one of these fields, such as a provisional user: ``X``, id.

An id is its 16 bytes. Integers are big-endian: a version in 8 bytes, a time as microseconds since
2000-01-01T00:00:00Z in 8 bytes. A boolean is one byte, 1 or 0. A text is its length in characters,
in 4 bytes, and its UTF-8. Roles are their number, in 4 bytes, and each role as a text, without
duplicates, ordered by bytes. ``tokens_valid_after`` is a 1 and the time, or a 0 for null. So no two
states have the same form. PostgreSQL sends values in these forms, in half the time of text.

Not here: asking a database (each service's ``reconcile``).
"""

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self
from uuid import UUID

from contracts.events import UserState, UserTombstone

BUCKETS: Final = 4096
"""With a million users, 244 in a bucket: a differing bucket costs some 80 KB, all digests 64 KB."""

DIGEST_BYTES: Final = 16
"""Half a SHA-256: two different buckets agree by chance once in 2^128."""

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def bucket_of(user_id: UUID) -> int:
    """The bucket of a user, from 0 to ``BUCKETS`` - 1."""
    return user_id.int % BUCKETS


def row_digest(state: UserState | UserTombstone) -> bytes:
    """Compute the digest of a user's row; the reference for ``row_digest_sql``."""
    return hashlib.sha256(canonical_form(state)).digest()[:DIGEST_BYTES]


def canonical_form(state: UserState | UserTombstone) -> bytes:
    """Encode the row that a digest is computed from."""
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


def _text_sql(text: str) -> str:
    return f"int4send(length({text})) || convert_to({text}, 'UTF8')"


ROLES_FUNCTION: Final = f"""
    CREATE FUNCTION digest_roles(roles text[]) RETURNS bytea
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
        SELECT int4send(count(*)::int)
            || coalesce(string_agg({_text_sql("role")}, '' ORDER BY role COLLATE "C"), '')
        FROM (SELECT DISTINCT unnest(roles) AS role) AS distinct_roles
    $$
"""  # noqa: S608 - made of a constant
"""A function, because a subquery would keep PostgreSQL from running in parallel. The migrations of
both services create it, each from its own copy."""


def _roles_sql(roles: str) -> str:
    # Few users have two roles, and the call costs four times the rest of a digest.
    return (
        f"CASE cardinality({roles}) WHEN 0 THEN int4send(0)"
        f" WHEN 1 THEN int4send(1) || {_text_sql(f'{roles}[1]')}"
        f" ELSE digest_roles({roles}) END"
    )


def bucket_sql(row: str = "users") -> str:
    """SQL for the bucket of the row that ``row`` names; both tables have an index on it."""
    packed = f"uuid_send({row}.id)"
    return f"(((get_byte({packed}, 14) & 15) << 8) | get_byte({packed}, 15))"


def row_digest_sql(row: str = "users") -> str:
    """SQL for the digest, a ``bit(128)`` and never null, of the row that ``row`` names."""
    since = f"{row}.tokens_valid_after"
    living = " || ".join(
        [
            f"'U'::bytea || uuid_send({row}.id) || int8send({row}.version)",
            _text_sql(f"{row}.email"),
            f"boolsend({row}.email_verified)",
            _roles_sql(f"{row}.roles"),
            _text_sql(f"{row}.status"),
            f"coalesce(boolsend(true) || timestamptz_send({since}), boolsend(false))",
            f"timestamptz_send({row}.created_at) || timestamptz_send({row}.updated_at)",
        ]
    )
    tombstone = (
        f"'T'::bytea || uuid_send({row}.id) || int8send({row}.version)"
        f" || timestamptz_send({row}.deleted_at)"
    )
    form = (
        f"coalesce(CASE WHEN {row}.deleted_at IS NULL THEN {living} ELSE {tombstone} END,"
        f" 'X'::bytea || uuid_send({row}.id))"
    )
    return f"('x' || encode(substring(sha256({form}) FROM 1 FOR {DIGEST_BYTES}), 'hex'))::bit(128)"


def digests_sql(table: str = "users") -> str:
    """SQL for the digests of all buckets that are not empty, each as 128 binary digits."""
    return f"""
        SELECT {bucket_sql()} AS bucket,
               count(*) FILTER (WHERE deleted_at IS NULL) AS users,
               count(*) FILTER (WHERE deleted_at IS NOT NULL) AS tombstones,
               bit_xor({row_digest_sql()})::text AS digest
        FROM {table} AS users GROUP BY 1
    """  # noqa: S608 - made of names in the code


@dataclass(frozen=True, slots=True)
class Digests:
    """The digests of one table in one snapshot.

    ``buckets`` concatenates the digests of all buckets; an empty bucket has zeros.
    """

    users: int
    tombstones: int
    buckets: bytes

    @classmethod
    def of_rows(cls, rows: Iterable[tuple[int, int, int, str]]) -> Self:
        """From the rows of ``digests_sql``."""
        users = tombstones = 0
        buckets = bytearray(BUCKETS * DIGEST_BYTES)
        for bucket, living, dead, digest in rows:
            users += living
            tombstones += dead
            place = slice(bucket * DIGEST_BYTES, (bucket + 1) * DIGEST_BYTES)
            buckets[place] = int(digest, 2).to_bytes(DIGEST_BYTES, "big")
        return cls(users, tombstones, bytes(buckets))

    @property
    def rows(self) -> int:
        """The number of rows of the table."""
        return self.users + self.tombstones

    def differing(self, other: "Digests") -> list[int]:
        """Return the buckets whose digests differ, in ascending order."""
        pairs = zip(self._each(), other._each(), strict=True)  # noqa: SLF001 - another of the same
        return [bucket for bucket, (ours, theirs) in enumerate(pairs) if ours != theirs]

    def _each(self) -> Iterable[bytes]:
        return (
            self.buckets[start : start + DIGEST_BYTES]
            for start in range(0, BUCKETS * DIGEST_BYTES, DIGEST_BYTES)
        )
