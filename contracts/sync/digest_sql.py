"""SQL that computes the digests of ``contracts.sync.digest`` in PostgreSQL, from rows.

It gives the same result in every server version, encoding, locale and time zone. PostgreSQL sends
values in the canonical forms, in half the time of text. If the two differ,
``contracts.sync.digest`` is right; it also defines lanes and canonical forms.

A lane is read as a signed integer of 32 bits, so that PostgreSQL adds lanes in its fastest way.
Sums and differences are equal modulo 2^32 whichever sign a lane has, and only their last 32 bits
are kept.

Not here: tables that keep digests (``maintained_digests``), and asking a database.
"""

from collections.abc import Collection, Sequence
from typing import Final

from contracts.sync.digest import BUCKETS, LANES, DigestKind, kinds_of

LANE_COLUMNS: Final = tuple(
    f"{kind}{number}" for kind in ("state", "versions") for number in range(1, LANES + 1)
)
"""Columns of lanes, in this order, wherever SQL has the digests of a bucket."""

COLUMNS: Final = ("bucket", "users", "tombstones", *LANE_COLUMNS)
"""Columns of one bucket's digests."""


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
    # Few users have three roles, and the call costs over five times the rest of a digest.
    first, second = _text_sql(f"{roles}[1]"), _text_sql(f"{roles}[2]")
    one = f"int4send(1) || {first}"
    two = (
        f"CASE WHEN {roles}[1] = {roles}[2] THEN {one}"
        f' WHEN {roles}[1] < {roles}[2] COLLATE "C" THEN int4send(2) || {first} || {second}'
        f" ELSE int4send(2) || {second} || {first} END"
    )
    return (
        f"CASE cardinality({roles}) WHEN 0 THEN int4send(0) WHEN 1 THEN {one} WHEN 2 THEN {two}"
        f" ELSE digest_roles({roles}) END"
    )


def bucket_sql(row: str = "users") -> str:
    """SQL for the bucket of the row that ``row`` names; both tables have an index on it."""
    packed = f"uuid_send({row}.id)"
    return f"(((get_byte({packed}, 14) & 15) << 8) | get_byte({packed}, 15))"


def state_hash_sql(row: str = "users") -> str:
    """SQL for the SHA-256, never null, of the canonical form of the row that ``row`` names.

    Its first half is the row's digest over all fields.
    """
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
    return (
        f"sha256(coalesce(CASE WHEN {row}.deleted_at IS NULL THEN {living} ELSE {tombstone} END,"
        f" 'X'::bytea || uuid_send({row}.id)))"
    )


def version_hash_sql(row: str = "users") -> str:
    """SQL for the SHA-256 of the version of the row that ``row`` names, likewise."""
    return (
        f"sha256(CASE WHEN {row}.deleted_at IS NULL THEN 'L'::bytea ELSE 'D'::bytea END"
        f" || uuid_send({row}.id) || int8send({row}.version))"
    )


def _lane_sql(digest: str, number: int) -> str:
    first = 4 * number
    parts = [f"get_byte({digest}, {first + place}) << {24 - 8 * place}" for place in range(3)]
    return " | ".join([*(f"({part})" for part in parts), f"get_byte({digest}, {first + 3})"])


def bucket_sums_sql(
    plus: str | None,
    *,
    minus: str | None = None,
    has_all_fields: bool = True,
    orphans: str | None = None,
) -> str:
    """SQL for the sums of the digests of some rows, by bucket, with ``COLUMNS``.

    Parameters:
        plus: an item of FROM whose rows are added, such as the table; None for none.
        minus: another one, whose rows are taken away; None for none.
        has_all_fields: otherwise the lanes of ``state`` are zero.
        orphans: the table of tombstones that count in no digest; None if there is none.
    """
    signs = [(rows, sign) for rows, sign in ((plus, "0"), (minus, "-1")) if rows is not None]
    each = " UNION ALL ".join(
        _rows_sql(rows, sign, has_all_fields, orphans) for rows, sign in signs
    )
    if minus is None:
        count, sign, taken = "count(*) FILTER (WHERE {})", "", ""
    else:
        # Taking x away adds its complement and 1, because -x overflows for one x of 2^32.
        count = "coalesce(sum(2 * sign + 1) FILTER (WHERE {}), 0)"
        sign, taken = " # sign", " - sum(sign)"
    lanes = [
        f"sum(({_lane_sql(kind, number)}){sign}){taken}"
        if kind == "versions" or has_all_fields
        else "0::bigint"
        for kind in ("state", "versions")
        for number in range(LANES)
    ]
    sums = ["bucket", count.format("is_living"), count.format("NOT is_living"), *lanes]
    named = ", ".join(f"{sum_} AS {name}" for sum_, name in zip(sums, COLUMNS, strict=True))
    return f"SELECT {named} FROM ({each}) AS digested GROUP BY bucket"  # noqa: S608 - names in code


def _rows_sql(rows: str, sign: str, has_all_fields: bool, orphans: str | None) -> str:
    state = f"{state_hash_sql()} AS state, " if has_all_fields else ""
    counted = "" if orphans is None else f" WHERE {_is_counted_sql(orphans)}"
    # Without OFFSET a hash would be computed again for each of its lanes; NULL, and not 0, lets
    # PostgreSQL run it in parallel.
    return f"""(
        SELECT {bucket_sql()} AS bucket, users.deleted_at IS NULL AS is_living, {sign} AS sign,
            {state}{version_hash_sql()} AS versions
        FROM {rows} AS users{counted} OFFSET NULL
    )"""  # noqa: S608 - made of names in the code


def _is_counted_sql(orphans: str) -> str:
    return f"""CASE WHEN users.deleted_at IS NULL THEN true ELSE NOT EXISTS (
        SELECT FROM {orphans} AS orphan
        WHERE orphan.id = users.id AND orphan.version = users.version
    ) END"""


def computed_sql(table: str, has_all_fields: bool = True, orphans: str | None = None) -> str:
    """SQL for the digests of a table, computed from its rows, as ``packed_sql`` returns them."""
    sums = bucket_sums_sql(table, has_all_fields=has_all_fields, orphans=orphans)
    return packed_sql(sums, kinds_of(has_all_fields=has_all_fields))


def packed_sql(sums: str, kinds: Collection[DigestKind]) -> str:
    """SQL that packs the digests of buckets into one row, with the fields of ``Digests``.

    Parameters:
        sums: SQL for some buckets, each once, with ``COLUMNS``; of the others all are zero.
        kinds: of digests; there are no others (NULL), which costs half the time.
    """
    packed = ", ".join(
        _packed_lanes_sql(kind) if kind in kinds else f"NULL::bytea AS {kind}"
        for kind in DigestKind
    )
    return f"""
        SELECT coalesce(sum(users), 0)::bigint AS users,
            coalesce(sum(tombstones), 0)::bigint AS tombstones,
            {packed}
        FROM generate_series(0, {BUCKETS - 1}) AS every (bucket)
        LEFT JOIN ({sums}) AS sums USING (bucket)
    """  # noqa: S608 - made of names in the code


def _packed_lanes_sql(kind: str) -> str:
    lanes = packed_sums_sql([f"coalesce({kind}{number}, 0)" for number in range(1, LANES + 1)])
    return f"string_agg({lanes}, '' ORDER BY bucket) AS {kind}"


def packed_sums_sql(sums: Sequence[str]) -> str:
    """SQL for a bucket's digest, packed from the sums of its four lanes."""
    # Two lanes to a number of 64 bits: half the calls. The last 32 bits of a sum are the sum modulo
    # 2^32, also of a negative one.
    first, second, third, fourth = sums
    return " || ".join(
        f"int8send(({high} << 32) | ({low} & {2**32 - 1}))"
        for high, low in ((first, second), (third, fourth))
    )
