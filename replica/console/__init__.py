"""The console under ``/console``: pages for operators and administrators on one frame.

Static files that call both services from the browser. ``frame.html`` has the sign-in and the links
to all pages, each with the roles that open it. Users without such a role see a message; the
services enforce the roles.
"""

from typing import Final

from starlette.routing import Route

from service_kit.http.static_pages import framed_routes

PAGES: Final = {"/console": "pipe", "/console/users": "users", "/console/events": "events"}
"""The name of each page by its path: ``NAME.html`` is its content, ``NAME.js`` its script."""


def routes(auth_address: str) -> list[Route]:
    """Return the routes of the console; browsers reach the auth service at ``auth_address``."""
    return framed_routes(
        __name__,
        frame="frame.html",
        pages=PAGES,
        files_at="/console/",
        connect_to=[auth_address],
        values={"auth": auth_address},
    )
