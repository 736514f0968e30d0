"""Read posts with their authors, as readers see them.

Guarantees: one statement, however many posts; the list follows an index from the cursor on, so that
a page costs the same wherever it is, and what is written meanwhile moves nothing.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from blog_service.profiles.author import (
    AUTHOR_COLUMNS,
    author_document,
    is_shown_sql,
    join_author_sql,
)
from blog_service.settings import DeletedAuthors
from contracts import problems
from contracts.problems import Problem

NEWEST: Final = 2**63 - 1
"""Above every position: where the first page begins."""


async def posts_page(
    connection: AsyncConnection,
    shown: DeletedAuthors,
    *,
    limit: int,
    before: int | None = None,
    author_id: UUID | None = None,
) -> Sequence[Row[Any]]:
    """Posts from the newest on, or from ``before``; of everybody, or of one author."""
    values: dict[str, Any] = {"before": NEWEST if before is None else before, "limit": limit}
    if author_id is not None:
        values["author_id"] = author_id
    query = page_query(shown, of_one=author_id is not None)
    return (await connection.execute(query, values)).all()


@cache
def page_query(shown: DeletedAuthors, *, of_one: bool) -> TextClause:
    """The statement for a page of posts; it has the values ``before, limit``.

    ``of_one`` author, ``author_id``, it shows nothing once he is deleted: who remembers the id
    would otherwise know whose the posts of a "deleted user" were.
    """
    of_author = "AND post.author_id = :author_id AND author.deleted_at IS NULL" if of_one else ""
    return _query(
        shown,
        f"AND post.position < :before {of_author} ORDER BY post.position DESC LIMIT :limit",
    )


async def post_by_id(connection: AsyncConnection, shown: DeletedAuthors, post_id: UUID) -> Row[Any]:
    """One post.

    Raises:
        Problem: 404, there is none that is shown.
    """
    row = (await connection.execute(_one_query(shown), {"id": post_id})).one_or_none()
    if row is None:
        raise Problem(problems.NOT_FOUND)
    return row


@cache
def _one_query(shown: DeletedAuthors) -> TextClause:
    return _query(shown, "AND post.id = :id")


def _query(shown: DeletedAuthors, condition: str) -> TextClause:
    return text(
        f"""
        SELECT post.id, post.position, post.title, post.body, post.created_at, post.updated_at,
               post.author_id AS owner_id, post.service_id, {AUTHOR_COLUMNS}
        FROM posts AS post {join_author_sql("post.author_id")}
        WHERE post.deleted_at IS NULL AND {is_shown_sql(shown)} {condition}
        """  # noqa: S608 - made of constants
    )


def post_document(row: Row[Any]) -> dict[str, Any]:
    """A post as JSON shows it (``bodies.PostBody``)."""
    return {
        "id": row.id,
        "author": author_document(row),
        "title": row.title,
        "body": row.body,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }
