"""SQL for digests that a database keeps beside its table of users, on either side.

``digests`` has the sums of each bucket. Triggers on the table of users append what a statement
changes to ``digest_changes``, one row per bucket, for every writer. A fold moves changes into
``digests``; a reader adds those that are not folded yet, in one statement.

Guarantees: what a snapshot reads is exact, also while a fold runs; no writer waits for another, or
for a fold; the text is the same for the source and every replica, apart from the table's name, the
fields it lacks, and tombstones that the source never had.

What goes past triggers (disabled ones, ``session_replication_role``, an edited row of ``digests``)
is not counted. ``difference_sql`` finds it by computing the digests from rows, and
``correction_sql`` corrects it: a correction is one more change, so that no writer waits for it.

Not here: the digests of rows (``digest_sql``), the tables and who runs this
(``service_kit.database.digests``).
"""

from collections.abc import Collection
from typing import Final

from contracts.sync.digest import BUCKETS, DIGEST_BYTES, LANES, DigestKind
from contracts.sync.digest_sql import COLUMNS, LANE_COLUMNS, bucket_sums_sql, packed_sums_sql

CHANGES_FOLDED_MAX: Final = 50_000
"""Changes that one fold moves: some 100 ms of work, however long nobody folded."""

FUNCTION: Final = "count_in_digests"
"""The trigger's function."""

TRIGGERS: Final = {
    "digests_insert": "AFTER INSERT ON {table} REFERENCING NEW TABLE AS after",
    "digests_update": "AFTER UPDATE ON {table} REFERENCING OLD TABLE AS before NEW TABLE AS after",
    "digests_delete": "AFTER DELETE ON {table} REFERENCING OLD TABLE AS before",
    "digests_truncate": "AFTER TRUNCATE ON {table}",
}
"""The triggers on a table of users, each for whole statements."""

_LOW_BITS: Final = 2**32 - 1
_SUMS: Final = COLUMNS[1:]
_COUNTS: Final = ("users", "tombstones")


def installation(table: str, has_all_fields: bool = True, orphans: str | None = None) -> list[str]:
    """Return the statements that create the function and its triggers, for an empty table.

    The function keeps the schema in which it was created, so that a session with another search
    path counts as well.
    """

    def change(plus: str | None, minus: str | None) -> str:
        return change_sql(
            bucket_sums_sql(plus, minus=minus, has_all_fields=has_all_fields, orphans=orphans)
        )

    function = f"""
        CREATE FUNCTION {FUNCTION}() RETURNS trigger
        LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
        BEGIN
            CASE TG_OP
                WHEN 'INSERT' THEN {change("after", None)};
                WHEN 'UPDATE' THEN {change("after", "before")};
                WHEN 'DELETE' THEN {change(None, "before")};
                ELSE TRUNCATE digests, digest_changes;
            END CASE;
            RETURN NULL;
        END
        $$
    """
    triggers = [
        f"CREATE TRIGGER {name} {event.format(table=table)}"
        f" FOR EACH STATEMENT EXECUTE FUNCTION {FUNCTION}()"
        for name, event in TRIGGERS.items()
    ]
    return [function, *triggers]


def change_sql(sums: str) -> str:
    """SQL that appends sums of buckets to ``digest_changes``; a bucket without change has no row.

    A lane is kept as a signed integer of 32 bits: half the bytes to write, and PostgreSQL adds
    such integers in its fastest way.
    """
    lanes = ", ".join(f"(({name} << 32) >> 32)::integer" for name in LANE_COLUMNS)
    changed = " OR ".join(
        [
            "users <> 0 OR tombstones <> 0",
            *(f"({name} & {_LOW_BITS}) <> 0" for name in LANE_COLUMNS),
        ]
    )
    return f"""
        INSERT INTO digest_changes ({", ".join(COLUMNS)})
        SELECT bucket, users, tombstones, {lanes} FROM ({sums}) AS sums WHERE {changed}
    """  # noqa: S608 - made of names in the code


_CHANGES: Final = f"""
    SELECT bucket, {", ".join(f"sum({name}) AS {name}" for name in _SUMS)}
    FROM digest_changes {{some}} GROUP BY bucket
"""  # noqa: S608 - made of constants

_MAINTAINED: Final = f"""
    SELECT bucket, {
    ", ".join(
        f"coalesce(folded.{name}, 0) + coalesce(changes.{name}, 0) AS {name}" for name in _SUMS
    )
}
    FROM digests AS folded FULL JOIN ({_CHANGES.format(some="")}) AS changes USING (bucket)
"""  # noqa: S608 - made of constants

_MISSING: Final = f"""
    (SELECT bucket FROM generate_series(0, {BUCKETS - 1}) AS every (bucket)
    WHERE NOT EXISTS (SELECT FROM digests WHERE digests.bucket = every.bucket)) AS missing
"""  # noqa: S608 - made of constants

_NO_DIGEST: Final = f"decode('{bytes(DIGEST_BYTES).hex()}', 'hex')"

# Where every bucket has its row, the second part costs counting them.
_KEPT: Final = f"""
    SELECT {", ".join([*COLUMNS, *DigestKind])} FROM digests
    UNION ALL
    SELECT bucket, {", ".join(["0" for _ in _SUMS] + [_NO_DIGEST for _ in DigestKind])}
    FROM {_MISSING} WHERE (SELECT count(*) FROM digests) < {BUCKETS}
"""  # noqa: S608 - made of constants

FOLD: Final = f"""
    WITH folded AS (
        DELETE FROM digest_changes WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM digest_changes LIMIT {CHANGES_FOLDED_MAX}
        )) RETURNING *
    ), written AS (
        INSERT INTO digests AS kept ({", ".join(COLUMNS)})
        SELECT bucket, {
    ", ".join(
        f"sum({name}) & {_LOW_BITS}" if name in LANE_COLUMNS else f"sum({name})" for name in _SUMS
    )
}
        FROM folded GROUP BY bucket
        ON CONFLICT (bucket) DO UPDATE SET {
    ", ".join(
        f"{name} = (kept.{name} + excluded.{name})"
        + (f" & {_LOW_BITS}" if name in LANE_COLUMNS else "")
        for name in _SUMS
    )
}
    )
    SELECT count(*) FROM folded
"""  # noqa: S608 - made of constants
"""SQL that moves changes into ``digests`` and returns how many; one session at a time."""


FILL: Final = f"""
    INSERT INTO digests ({", ".join(COLUMNS)}) SELECT bucket, {", ".join("0" for _ in _SUMS)}
    FROM {_MISSING} WHERE (SELECT count(*) FROM digests) < {BUCKETS} ON CONFLICT DO NOTHING
"""  # noqa: S608 - made of constants
"""SQL that adds rows for buckets without one: readers are faster if every bucket has its row."""


def packed_lanes_sql(kind: DigestKind) -> str:
    """SQL for the digest of a row of ``digests``: a column that PostgreSQL generates from lanes."""
    first, second, third, fourth = (f"{kind}{number}" for number in range(1, LANES + 1))
    return f"int8send(({first} << 32) | {second}) || int8send(({third} << 32) | {fourth})"


def maintained_sql(kinds: Collection[DigestKind], buckets: str | None = None) -> str:
    """SQL for the maintained digests of some kinds, packed into one row.

    Its columns are those of ``Digests``. What a bucket has in ``digests`` is read as it is packed
    there; lanes are added only for buckets with changes.

    Parameters:
        kinds: of digests; there are no others (NULL).
        buckets: SQL for an array of those that are wanted, ascending; None for all. The counts are
            always those of the whole table.
    """
    some = "" if buckets is None else f"WHERE bucket = ANY ({buckets})"
    packed = ", ".join(
        f"string_agg({_packed_sum_sql(kind)}, '' ORDER BY kept.bucket) AS {kind}"
        if kind in kinds
        else f"NULL::bytea AS {kind}"
        for kind in DigestKind
    )
    if buckets is None:
        counts = [
            f"coalesce(sum(kept.{name} + coalesce(changes.{name}, 0)), 0)" for name in _COUNTS
        ]
    else:
        counts = [
            f"(SELECT coalesce(sum({name}), 0) FROM digests)"  # noqa: S608 - names in the code
            f" + (SELECT coalesce(sum({name}), 0) FROM digest_changes)"
            for name in _COUNTS
        ]
    named = ", ".join(
        f"({count})::bigint AS {name}" for count, name in zip(counts, _COUNTS, strict=True)
    )
    return f"""
        SELECT {named}, {packed}
        FROM (SELECT * FROM ({_KEPT}) AS every {some}) AS kept
        LEFT JOIN ({_CHANGES.format(some=some)}) AS changes ON changes.bucket = kept.bucket
    """  # noqa: S608 - made of names in the code


def _packed_sum_sql(kind: DigestKind) -> str:
    """SQL for one bucket's digest: as it is kept, or with the changes that are not folded yet."""
    lanes = packed_sums_sql(
        [f"(kept.{kind}{number} + changes.{kind}{number})" for number in range(1, LANES + 1)]
    )
    return f"CASE WHEN changes.bucket IS NULL THEN kept.{kind} ELSE {lanes} END"


def difference_sql(table: str, has_all_fields: bool = True, orphans: str | None = None) -> str:
    """SQL for what the maintained digests lack, by bucket, with ``COLUMNS``."""
    computed = bucket_sums_sql(table, has_all_fields=has_all_fields, orphans=orphans)
    differences = ", ".join(
        f"coalesce(computed.{name}, 0) - coalesce(kept.{name}, 0) AS {name}" for name in _SUMS
    )
    return f"""
        SELECT bucket, {differences}
        FROM ({computed}) AS computed FULL JOIN ({_MAINTAINED}) AS kept USING (bucket)
    """  # noqa: S608 - made of names in the code


def correction_sql(table: str, has_all_fields: bool = True, orphans: str | None = None) -> str:
    """SQL that corrects the maintained digests and returns the corrected buckets.

    It reads rows and digests in one snapshot. What writers append meanwhile is right, and stays.
    """
    difference = difference_sql(table, has_all_fields=has_all_fields, orphans=orphans)
    return f"{change_sql(difference)} RETURNING bucket"
