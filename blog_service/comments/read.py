"""Read comments with their authors, as readers see them.

Guarantees: a comment is visible only while its post is. A hidden post looks like a missing one to
every caller, even if it has comments. A page takes one statement, which reads an index from the
cursor on. A client that follows the cursors sees each comment that existed at the start exactly
once.
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
    is_visible_sql,
    join_author_sql,
)
from blog_service.rendering import Renderer
from blog_service.settings import DeletedAuthors
from service_kit.database.alone import RowLike
from service_kit.database.reader import Reader
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
    """Return up to ``limit`` comments on a post, oldest first.

    Parameters:
        reader: reads from the blog's database.
        shown: whether content of deleted authors is visible.
        post_id: the post.
        limit: the rows to return at most.
        after: the position after which to continue; None starts with the oldest.

    Raises:
        Problem: 404, no visible post has this id.
    """
    found = await reader.rows(page_sql(shown, limit), post_id, after or 0)
    if not found and not await reader.rows(shown_post_sql(shown, "$1"), post_id):
        raise Problem(problems.NOT_FOUND)
    return found


@cache
def page_sql(shown: DeletedAuthors, limit: int) -> str:
    """Return the SQL for ``limit`` comments on post $1 after position $2 (see ``posts.read``)."""
    return f"""
        {_select(shown)} AND comment.post_id = $1 AND comment.position > $2
        ORDER BY comment.position LIMIT {limit}
        """


@cache
def shown_post_sql(shown: DeletedAuthors, post_id: str) -> str:
    """Return the SQL that finds a visible post; ``post_id`` is the placeholder of its id."""
    return f"""
        SELECT post.id FROM posts AS post JOIN users AS poster ON poster.id = post.author_id
        WHERE post.id = {post_id} AND {_post_is_shown(shown)}
        """  # noqa: S608 - made of constants


async def comment_by_id(
    connection: AsyncConnection, shown: DeletedAuthors, comment_id: UUID
) -> RowLike:
    """Return a comment.

    Raises:
        Problem: 404, no visible comment has this id.
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
        WHERE {is_visible_sql(shown)} AND {_post_is_shown(shown)}
        """  # noqa: S608 - made of constants


def _post_is_shown(shown: DeletedAuthors) -> str:
    return f"post.deleted_at IS NULL AND {is_visible_sql(shown, author='poster')}"


async def comment_documents(renderer: Renderer, rows: Sequence[RowLike]) -> list[dict[str, Any]]:
    """Return the JSON of comments (``bodies.CommentBody``)."""
    rendered = await renderer.comments([row["body"] for row in rows])
    return [_document(row, html) for row, html in zip(rows, rendered, strict=True)]


def _document(row: RowLike, html: str) -> dict[str, Any]:
    return {
        "id": row["id"],
        "post_id": row["post_id"],
        "author": author_document(row),
        "body": row["body"],
        "body_html": html,
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
    }
