"""The blog's page at ``/``: plain files, which work with both services from the browser.

``session.js`` is for the other pages of this service too.
"""

from starlette.routing import Route

from blog_service.settings import ApiSettings
from service_kit.http.static_pages import page_routes


def routes(settings: ApiSettings) -> list[Route]:
    """The page and its files; both services are called from there."""
    return page_routes(
        __name__,
        at="/",
        files_at="/web/",
        connect_to=[settings.auth_address],
        # Avatars are wherever their owners keep them.
        images_from=["https:"],
        values={"auth": settings.auth_address, "deleted_authors": settings.deleted_authors},
    )
