"""The operators' console at ``/console``: a diagram of the pipe, and the operators' actions.

Static files that call both services from the browser. A user without the role sees a message; the
services enforce the role.
"""

from starlette.routing import Route

from service_kit.http.static_pages import page_routes


def routes(auth_address: str) -> list[Route]:
    """Return the routes of the console; browsers reach the auth service at ``auth_address``."""
    return page_routes(
        __name__,
        at="/console",
        files_at="/console/",
        connect_to=[auth_address],
        values={"auth": auth_address},
    )
