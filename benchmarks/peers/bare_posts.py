"""The list of posts as a quick version: a bare FastAPI route on a raw asyncpg pool.

It runs the statement of the blog's own list, prepared, and returns its rows, without middleware,
checks of parameters, metrics and problem documents.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import uvicorn
from fastapi import FastAPI, Request

from blog_service.posts.read import NEWEST, page_sql
from blog_service.posts.routes import POSTS_DEFAULT

CONNECTIONS: Final = 10
"""The blog's own page size."""

STATEMENT: Final = page_sql("remove", POSTS_DEFAULT + 1)
"""The blog's own statement, which reads one post more than the page has."""


@asynccontextmanager
async def _with_pool(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(
        os.environ["PEER_REPLICA_URL"], min_size=CONNECTIONS, max_size=CONNECTIONS
    ) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=_with_pool)


@app.get("/readyz")
async def ready() -> None:
    """Respond once the pool exists."""


@app.get("/v1/posts")
async def get_posts(request: Request, before: int = NEWEST) -> list[dict[str, Any]]:
    """Return a page of posts."""
    rows = await request.app.state.pool.fetch(STATEMENT, before)
    return [dict(row) for row in rows]


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["PEER_PORT"]), log_level="warning", access_log=False)
