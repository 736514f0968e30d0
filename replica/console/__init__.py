"""The console under ``/console``: pages for operators and administrators on one frame.

Static files that call both services from the browser. ``frame.html`` has the sign-in and the links
to all pages, each with the roles that open it. Users without such a role see a message; the
services enforce the roles.
"""

from typing import Final

from starlette.routing import Route

from service_kit.http.static_pages import framed_routes

PAGES: Final = {
    "/console": "pipe",
    "/console/users": "users",
    "/console/events": "events",
    "/console/services": "services",
    "/console/keys": "keys",
    "/console/audit": "audit",
    "/console/settings": "settings",
}
"""The name of each page by its path: ``NAME.html`` is its content, ``NAME.js`` its script."""

BREAK_IT: Final = {"/console/break": "break"}
"""The page that is served only beside a fault injector."""


def routes(auth_address: str, faults_address: str | None = None) -> list[Route]:
    """Return the routes of the console.

    Parameters:
        auth_address: where browsers reach the auth service.
        faults_address: where they reach the fault injector of ``make up``, if there is one.
    """
    return framed_routes(
        __name__,
        frame="frame.html",
        pages=PAGES | (BREAK_IT if faults_address else {}),
        files_at="/console/",
        connect_to=[auth_address, *([faults_address] if faults_address else [])],
        values={"auth": auth_address, "faults": faults_address or ""},
    )
