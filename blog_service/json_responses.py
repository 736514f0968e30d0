"""Write JSON responses straight from database rows.

Building and validating a pydantic model per item would cost more than the query. The OpenAPI
document still names the model (``response_model``), and a contract test validates every response
against it.
"""

from collections.abc import Sequence
from typing import Any

import orjson
from fastapi import status
from starlette.responses import Response

from service_kit.database.alone import RowLike
from service_kit.http.pagination import cursor_after


def json_response(value: Any, status_code: int = status.HTTP_200_OK) -> Response:
    """Serialise ``value`` as JSON, with ids as text and times in UTC, ending in Z."""
    content = orjson.dumps(value, default=str, option=orjson.OPT_UTC_Z)
    return Response(content, status_code, media_type="application/json")


def page_response(
    found: Sequence[RowLike], limit: int, items: Sequence[dict[str, Any]]
) -> Response:
    """Respond with one page of a collection.

    Parameters:
        found: up to ``limit + 1`` rows; the extra row shows that another page follows.
        limit: the items of a page.
        items: the JSON of the first ``limit`` rows.
    """
    cursor = cursor_after(found[limit - 1]["position"]) if len(found) > limit else None
    return json_response({"items": items, "next_cursor": cursor})
