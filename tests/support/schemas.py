"""A database's schema as one value, to compare it with another."""

from tests.support.driver import connected

_QUERIES = (
    """
    SELECT relname, reloptions, obj_description(oid, 'pg_class') FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname
    """,
    """
    SELECT relname, attname, format_type(atttypid, atttypmod), attnotnull, attidentity::text,
        attgenerated::text, pg_get_expr(adbin, adrelid), col_description(attrelid, attnum)
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
    AND attnum > 0 AND NOT attisdropped ORDER BY relname, attnum
    """,
    """
    SELECT conrelid::regclass::text AS place, conname, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY place, conname
    """,
    """
    SELECT indrelid::regclass::text, pg_get_indexdef(indexrelid) AS definition, indisvalid
    FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
    WHERE relnamespace = 'public'::regnamespace ORDER BY definition
    """,
    """
    SELECT pg_get_functiondef(oid) AS definition FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace ORDER BY definition
    """,
    """
    SELECT pg_get_triggerdef(pg_trigger.oid) AS definition
    FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
    WHERE NOT tgisinternal AND relnamespace = 'public'::regnamespace ORDER BY definition
    """,
)


async def schema_of(url: str) -> list[tuple[object, ...]]:
    """Return tables, columns in order, constraints, indexes, functions and triggers."""
    async with connected(url) as connection:
        return [tuple(row) for query in _QUERIES for row in await connection.fetch(query)]
