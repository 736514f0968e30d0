"""The page that links in mails open.

Its script reads the token after the #, which browsers do not send, removes it from the address bar,
and acts only when a button is pressed: programs that scan links must not use them up.
"""

from starlette.routing import Route

from service_kit.http.static_pages import page_routes


def routes() -> list[Route]:
    """The page, and the files that it loads."""
    return page_routes(__name__, at="/link", files_at="/link/")
