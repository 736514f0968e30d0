"""Read comments with their authors, as readers see them.

Guarantees: a comment is shown only while its post is; what is told of a post that is not shown is
that there is none, whoever asks and whatever it has; one statement, however many comments, which
follows an index from the cursor on. Whoever has read up to a cursor and goes on finds all that was
there when he began, once.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Row, TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from blog_service.posts.read import post_by_id
from blog_service.profiles.author import (
    AUTHOR_COLUMNS,
    author_document,
    is_shown_sql,
    join_author_sql,
)
from blog_service.settings import DeletedAuthors
from contracts import problems
from contracts.problems import Problem


async def comments_page(
    connection: AsyncConnection,
    shown: DeletedAuthors,
    post_id: UUID,
    *,
    limit: int,
    after: int | None = None,
) -> Sequence[Row[Any]]:
    """Comments on a post, from the oldest on, or from ``after``.

    Raises:
        Problem: 404, there is no such post that is shown.
    """
    values = {"post_id": post_id, "after": after or 0, "limit": limit}
    found = (await connection.execute(page_query(shown), values)).all()
    if not found:
        await post_by_id(connection, shown, post_id)
    return found


@cache
def page_query(shown: DeletedAuthors) -> TextClause:
    """The statement for a page of comments; it has the values ``post_id, after, limit``."""
    return _query(
        shown,
        "comment.post_id = :post_id AND comment.position > :after"
        " ORDER BY comment.position LIMIT :limit",
    )


async def comment_by_id(
    connection: AsyncConnection, shown: DeletedAuthors, comment_id: UUID
) -> Row[Any]:
    """One comment.

    Raises:
        Problem: 404, there is none that is shown.
    """
    row = (await connection.execute(_one_query(shown), {"id": comment_id})).one_or_none()
    if row is None:
        raise Problem(problems.NOT_FOUND)
    return row


@cache
def _one_query(shown: DeletedAuthors) -> TextClause:
    return _query(shown, "comment.id = :id")


def _query(shown: DeletedAuthors, condition: str) -> TextClause:
    return text(
        f"""
        SELECT comment.id, comment.position, comment.post_id, comment.body, comment.created_at,
               comment.updated_at, comment.author_id AS owner_id, {AUTHOR_COLUMNS}
        FROM comments AS comment
        JOIN posts AS post ON post.id = comment.post_id AND post.deleted_at IS NULL
        JOIN users AS poster ON poster.id = post.author_id
        {join_author_sql("comment.author_id")}
        WHERE {is_shown_sql(shown)} AND {is_shown_sql(shown, author="poster")} AND {condition}
        """  # noqa: S608 - made of constants
    )


def comment_document(row: Row[Any]) -> dict[str, Any]:
    """A comment as JSON shows it (``bodies.CommentBody``)."""
    return {
        "id": row.id,
        "post_id": row.post_id,
        "author": author_document(row),
        "body": row.body,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }
