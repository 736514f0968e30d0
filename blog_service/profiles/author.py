"""Shared SQL: the author of content as readers see them, and whether content is visible.

Guarantees: once a user has a tombstone, readers see neither their id nor their profile, only that
there was an author. Content of an orphan is hidden under every setting, until it is erased.

Not here: erasing (``erasure``). Between tombstone and erasure only these conditions hide content,
so every statement that returns content uses them.
"""

from typing import Any, Final

from blog_service.settings import DeletedAuthors
from blog_service.texts import DELETED_USER
from service_kit.database.alone import RowLike


def is_visible_sql(deleted_authors: DeletedAuthors, *, author: str = "author") -> str:
    """Return an SQL condition: content by ``author``, an alias of ``users``, is visible."""
    if deleted_authors == "remove":
        return f"{author}.deleted_at IS NULL"
    return f"({author}.deleted_at IS NULL OR {author}.sweep IS DISTINCT FROM 'orphan')"


AUTHOR_COLUMNS: Final = f"""
    CASE WHEN author.deleted_at IS NULL THEN author.id END AS author_id,
    CASE WHEN author.deleted_at IS NULL THEN profile.display_name ELSE '{DELETED_USER}' END
        AS author_name,
    CASE WHEN author.deleted_at IS NULL THEN profile.avatar_url END AS author_avatar_url,
    author.status AS author_status"""
"""The public columns of the author, for a statement with ``join_author_sql``."""


def join_author_sql(author_id: str) -> str:
    """Return SQL that joins the author's row of ``users`` and their profile, if any.

    Content whose author has no row in the replica is not returned.
    """
    return f"""
        JOIN users AS author ON author.id = {author_id}
        LEFT JOIN profiles AS profile ON profile.user_id = author.id"""


def author_document(row: RowLike) -> dict[str, Any]:
    """Return the JSON of the author in a row with ``AUTHOR_COLUMNS``."""
    return {
        "id": row["author_id"],
        "display_name": row["author_name"],
        "avatar_url": row["author_avatar_url"],
        "status": row["author_status"],
    }
