"""The page that links in mails open.

The page's script takes the token from behind the #, which browsers send to nobody, removes it from
the address bar, and acts when a button is pressed: programs that open links to look at them must
not use them up.
"""

from starlette.routing import Route

from service_kit.http.static_pages import page_routes


def routes() -> list[Route]:
    """The page, and the files that it loads."""
    return page_routes(__name__, at="/link", files_at="/link/")
