"""Note how many rows a migration reads while its locks keep writers out.

Seconds would depend on the machine and its load. What a lock costs is what happens under it: a
transaction that adds a column reads nothing, one that builds an index reads the whole table.
"""

from dataclasses import dataclass

import asyncpg

_NOTES = """
CREATE SCHEMA notes;
CREATE TABLE notes.locks (place text, relation text, mode text, rows_read bigint);
-- Reading in parallel would be counted by other processes.
DO $$ DECLARE setting text; BEGIN
    FOREACH setting IN ARRAY ARRAY['max_parallel_workers_per_gather',
        'max_parallel_maintenance_workers'] LOOP
        EXECUTE format('ALTER DATABASE %I SET %I = 0', current_database(), setting);
    END LOOP;
END $$;
CREATE FUNCTION notes.note(place text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO notes.locks
    SELECT place, relation::regclass::text, mode,
        (SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))
         FROM pg_stat_xact_user_tables WHERE schemaname = 'public')
    FROM pg_locks
    WHERE pid = pg_backend_pid() AND locktype = 'relation'
    AND mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
    AND relation = ANY (SELECT oid FROM pg_class JOIN notes.written ON relname = name);
    -- Otherwise the next transaction would count these rows as its own.
    PERFORM pg_stat_force_next_flush();
END $$;
CREATE TABLE notes.written (name text);
CREATE FUNCTION notes.on_command() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM notes.note(tg_tag);
END $$;
CREATE FUNCTION notes.on_revision() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM notes.note('revision ' || NEW.version_num);
    RETURN NEW;
END $$;
CREATE TRIGGER notes AFTER INSERT OR UPDATE ON alembic_version
    FOR EACH ROW EXECUTE FUNCTION notes.on_revision();
CREATE EVENT TRIGGER notes ON ddl_command_end EXECUTE FUNCTION notes.on_command();
"""


@dataclass(frozen=True)
class Note:
    """A lock that keeps writers out, held at the end of a command or of a revision.

    Parameters:
        place: the command, or the revision.
        relation: the table.
        mode: the lock's.
        rows_read: rows that the transaction had read by then, of all tables.
    """

    place: str
    relation: str
    mode: str
    rows_read: int


async def take_notes(connection: asyncpg.Connection, *written: str) -> None:
    """Begin to note locks on the tables named; the first revision must be there."""
    await connection.execute(_NOTES)
    await connection.executemany("INSERT INTO notes.written VALUES ($1)", [(t,) for t in written])


async def read_notes(connection: asyncpg.Connection) -> list[Note]:
    """Return the notes in order."""
    return [Note(**row) for row in await connection.fetch("SELECT * FROM notes.locks")]
