"""The blog's page at ``/``: static files that call both services from the browser.

The console imports ``session.js`` and ``dom.js`` too.
"""

from starlette.routing import Route

from blog_service.settings import ApiSettings
from service_kit.http.static_pages import page_routes


def routes(settings: ApiSettings) -> list[Route]:
    """Return the routes of the page and its files."""
    return page_routes(
        __name__,
        at="/",
        files_at="/web/",
        connect_to=[settings.auth_address],
        # Avatars may be on any host.
        images_from=["https:"],
        values={"auth": settings.auth_address, "deleted_authors": settings.deleted_authors},
    )
