"""Read comments with their authors, as readers see them.

Guarantees: a comment is shown only while its post is; what is told of a post that is not shown is
that there is none, whoever asks and whatever it has; one statement, however many comments, which
follows an index from the cursor on. Whoever goes on from cursor to cursor finds all that was there
when he began, once.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from blog_service.profiles.author import (
    AUTHOR_COLUMNS,
    author_document,
    is_shown_sql,
    join_author_sql,
)
from blog_service.settings import DeletedAuthors
from service_kit.database.reader import Reader, RowLike
from service_kit.http import problems
from service_kit.http.problems import Problem


async def comments_page(
    reader: Reader,
    shown: DeletedAuthors,
    post_id: UUID,
    *,
    limit: int,
    after: int | None = None,
) -> Sequence[RowLike]:
    """Comments on a post, from the oldest on, or from ``after``.

    Raises:
        Problem: 404, there is no such post that is shown.
    """
    found = await reader.rows(page_sql(shown, limit), post_id, after or 0)
    if not found and not await reader.rows(shown_post_sql(shown, "$1"), post_id):
        raise Problem(problems.NOT_FOUND)
    return found


@cache
def page_sql(shown: DeletedAuthors, limit: int) -> str:
    """The statement for so many comments on the post $1 after $2; limited as in ``posts.read``."""
    return f"""
        {_select(shown)} AND comment.post_id = $1 AND comment.position > $2
        ORDER BY comment.position LIMIT {limit}
        """


@cache
def shown_post_sql(shown: DeletedAuthors, post_id: str) -> str:
    """The statement that finds the post, named by the placeholder ``post_id``, if it is shown."""
    return f"""
        SELECT post.id FROM posts AS post JOIN users AS poster ON poster.id = post.author_id
        WHERE post.id = {post_id} AND {_post_is_shown(shown)}
        """  # noqa: S608 - made of constants


async def comment_by_id(
    connection: AsyncConnection, shown: DeletedAuthors, comment_id: UUID
) -> RowLike:
    """One comment.

    Raises:
        Problem: 404, there is none that is shown.
    """
    found = await connection.execute(_one_query(shown), {"id": comment_id})
    row = found.mappings().one_or_none()
    if row is None:
        raise Problem(problems.NOT_FOUND)
    return row


@cache
def _one_query(shown: DeletedAuthors) -> TextClause:
    return text(f"{_select(shown)} AND comment.id = :id")


def _select(shown: DeletedAuthors) -> str:
    return f"""
        SELECT comment.id, comment.position, comment.post_id, comment.body, comment.created_at,
               comment.updated_at, comment.author_id AS owner_id, {AUTHOR_COLUMNS}
        FROM comments AS comment {join_author_sql("comment.author_id")}
        JOIN posts AS post ON post.id = comment.post_id
        JOIN users AS poster ON poster.id = post.author_id
        WHERE {is_shown_sql(shown)} AND {_post_is_shown(shown)}
        """  # noqa: S608 - made of constants


def _post_is_shown(shown: DeletedAuthors) -> str:
    return f"post.deleted_at IS NULL AND {is_shown_sql(shown, author='poster')}"


def comment_document(row: RowLike) -> dict[str, Any]:
    """A comment as JSON shows it (``bodies.CommentBody``)."""
    return {
        "id": row["id"],
        "post_id": row["post_id"],
        "author": author_document(row),
        "body": row["body"],
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
    }
