"""Answers that are written straight from rows.

A model per item, checked and written by pydantic, would cost more than the query. The OpenAPI
document names the model all the same (``response_model``), and the contract's test holds every
answer against it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import orjson
from fastapi import status
from starlette.responses import Response

from service_kit.database.reader import RowLike
from service_kit.http.pagination import cursor_after


def document(value: Any, status_code: int = status.HTTP_200_OK) -> Response:
    """``value`` as JSON: ids as text, times in UTC with a Z, as everywhere."""
    content = orjson.dumps(value, default=str, option=orjson.OPT_UTC_Z)
    return Response(content, status_code, media_type="application/json")


def page_document(
    found: Sequence[RowLike], limit: int, item: Callable[[RowLike], dict[str, Any]]
) -> Response:
    """The page of the first ``limit`` rows, of which one more was looked for."""
    shown = found[:limit]
    cursor = cursor_after(shown[-1]["position"]) if len(found) > limit else None
    return document({"items": [item(row) for row in shown], "next_cursor": cursor})
