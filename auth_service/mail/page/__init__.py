"""The page that links in mails open: plain files, and the headers that guard them.

The page's script takes the token from behind the #, which browsers send to nobody, removes it from
the address bar, and acts when a button is pressed: programs that open links to look at them must
not use them up.
"""

from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Response

router = APIRouter(include_in_schema=False)

HEADERS: Final = {
    # Nothing from anywhere else, no script in the page's text, in nobody's frame, and no form that
    # a browser sends by itself: it would put the password into an address.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}

_FOLDER: Final = files(__name__)
_PAGE: Final = _FOLDER.joinpath("link.html").read_bytes()
_SCRIPT: Final = _FOLDER.joinpath("link.js").read_bytes()
_STYLE: Final = _FOLDER.joinpath("link.css").read_bytes()


@router.get("/link")
async def get_page() -> Response:
    """The page."""
    return Response(_PAGE, headers=HEADERS, media_type="text/html; charset=utf-8")


@router.get("/link/link.js")
async def get_script() -> Response:
    """What the page does."""
    return Response(_SCRIPT, headers=HEADERS, media_type="text/javascript; charset=utf-8")


@router.get("/link/link.css")
async def get_style() -> Response:
    """How the page looks."""
    return Response(_STYLE, headers=HEADERS, media_type="text/css; charset=utf-8")
