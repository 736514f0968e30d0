"""Interactive documentation of an API at ``/docs``, from files of this distribution alone.

It is Swagger UI, as the package ``fastapi-offline`` ships it: the page works without the Internet,
and no script from elsewhere runs with this origin's cookies. For development.
"""

from importlib.resources import files
from typing import Final

from starlette.routing import Route

from service_kit.http.static_pages import file_routes, page_routes

AT: Final = "/docs"
FILES_AT: Final = "/docs/"

ASSETS: Final = ("swagger-ui-bundle.js", "swagger-ui.css")


def docs_routes(title: str) -> list[Route]:
    """The page, which shows ``/openapi.json``, and all that it loads; none is in the OpenAPI."""
    static = files("fastapi_offline") / "static"
    page = page_routes(
        __name__,
        at=AT,
        files_at=FILES_AT,
        images_from=["data:"],  # Swagger UI's own symbols are in its style sheet
        values={"title": title},
    )
    return [*page, *file_routes([static / name for name in ASSETS], at=FILES_AT)]
