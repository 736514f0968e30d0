"""The scripts and the look of the blog's pages (``pages``), which call both services.

The console imports ``session.js`` and ``dom.js`` too.
"""

from starlette.routing import Route

from blog_service.settings import ApiSettings
from service_kit.http.static_pages import loaded_routes, page_headers


def headers(settings: ApiSettings) -> dict[str, str]:
    """Return the headers of pages and files."""
    # Avatars may be on any host.
    return page_headers(connect_to=[settings.auth_address], images_from=["https:"])


def routes(settings: ApiSettings) -> list[Route]:
    """Return the routes of the files."""
    return loaded_routes(__name__, at="/web/", headers=headers(settings))
