"""Work on whole tables that keeps nobody from writing to them.

Building an index or checking a constraint reads the whole table. Here PostgreSQL does it under a
lock that writers do not notice, with statements that cannot be part of a transaction. So a revision
calls these functions first, and each of them can be repeated: an interrupted revision starts again
from its beginning. The rest of the revision is one transaction.

Constraints are added ``NOT VALID`` (``postgresql_not_valid=True``) by one revision, which is quick,
and validated by a later one: a lock ends with the transaction that took it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from alembic import op
from sqlalchemy import TextClause


def create_index_concurrently(
    name: str, table: str, columns: Sequence[str | TextClause], **options: Any
) -> None:
    """Create an index; drop first what an interrupted run left of it.

    Parameters:
        columns: names, or expressions as SQL.
        options: those of Alembic's ``create_index``.
    """
    drop_index_concurrently(name, table)
    with _outside_transactions():
        op.create_index(name, table, columns, postgresql_concurrently=True, **options)


def drop_index_concurrently(name: str, table: str) -> None:
    """Drop an index if it exists."""
    with _outside_transactions():
        op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)


def validate(table: str, *constraints: str) -> None:
    """Check the rows that were there before these constraints were added."""
    with _outside_transactions():
        for constraint in constraints:
            op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {constraint}")


@contextmanager
def _outside_transactions() -> Iterator[None]:
    """Commit, and run each statement of the block by itself and for as long as it takes.

    The time limits of transactions do not fit here. Such a statement waits for all transactions
    that are older than it, which is no harm: nobody waits for it.
    """
    with op.get_context().autocommit_block():
        for limit in ("lock_timeout", "statement_timeout"):
            op.execute(f"SET {limit} = 0")
        try:
            yield
        finally:
            for limit in ("lock_timeout", "statement_timeout"):
                op.execute(f"RESET {limit}")
