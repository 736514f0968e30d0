"""The operators' console at ``/console``: the pipe as a picture, and what operators do about it.

Plain files, which ask both services from the browser what they tell operators over HTTP. Whoever
lacks the role is shown a sentence; it is the services that refuse him.
"""

from starlette.routing import Route

from service_kit.http.static_pages import page_routes


def routes(auth_address: str) -> list[Route]:
    """The page and its files; ``auth_address`` is where browsers find the auth service."""
    return page_routes(
        __name__,
        at="/console",
        files_at="/console/",
        connect_to=[auth_address],
        values={"auth": auth_address},
    )
