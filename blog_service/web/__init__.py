"""The blog's page at ``/``: plain files, which work with both services from the browser.

``session.js`` is for the other pages of this service too.
"""

from starlette.routing import Route

from contracts.pages import page_routes


def routes(issuer: str) -> list[Route]:
    """The page and its files; ``issuer`` is where browsers find the auth service."""
    return page_routes(
        __name__,
        at="/",
        files_at="/web/",
        connect_to=[issuer],
        # Avatars are wherever their owners keep them.
        images_from=["https:"],
        values={"auth": issuer},
    )
