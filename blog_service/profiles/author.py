"""Who wrote something, as its readers see him, and whether they see it at all. SQL that is shared.

Guarantees: nothing of a user whose tombstone is here is ever shown but that there was one: neither
his id nor what he told of himself; what the reconcile took for an orphan is hidden whatever the
settings say, until it is erased.

Not here: erasing (``erasure``). Between tombstone and erasure these conditions alone keep it away
from readers, so every statement that shows content has them.
"""

from typing import Any, Final

from blog_service.settings import DeletedAuthors
from blog_service.texts import DELETED_USER
from service_kit.database.reader import RowLike


def is_shown_sql(deleted_authors: DeletedAuthors, *, author: str = "author") -> str:
    """SQL that is true where what a user wrote may be shown; ``author`` is his row of ``users``."""
    if deleted_authors == "remove":
        return f"{author}.deleted_at IS NULL"
    return f"({author}.deleted_at IS NULL OR {author}.sweep IS DISTINCT FROM 'orphan')"


AUTHOR_COLUMNS: Final = f"""
    CASE WHEN author.deleted_at IS NULL THEN author.id END AS author_id,
    CASE WHEN author.deleted_at IS NULL THEN profile.display_name ELSE '{DELETED_USER}' END
        AS author_name,
    CASE WHEN author.deleted_at IS NULL THEN profile.avatar_url END AS author_avatar_url,
    author.status AS author_status"""
"""What readers see of him, for a statement with ``join_author_sql``."""


def join_author_sql(author_id: str) -> str:
    """SQL that joins the row of ``users`` of whoever wrote something, and his profile if any.

    What was written by nobody who is known here has no row, and is not shown.
    """
    return f"""
        JOIN users AS author ON author.id = {author_id}
        LEFT JOIN profiles AS profile ON profile.user_id = author.id"""


def author_document(row: RowLike) -> dict[str, Any]:
    """The author in a row with ``AUTHOR_COLUMNS``, as JSON shows him."""
    return {
        "id": row["author_id"],
        "display_name": row["author_name"],
        "avatar_url": row["author_avatar_url"],
        "status": row["author_status"],
    }
