"""The pages of a service: plain files of a package, and the headers that guard them.

Guarantees: a page loads, sends and shows nothing but what is said here: no script in its text, no
form that a browser sends by itself (it would put a password into an address), in nobody's frame,
and the next page is not told where one comes from. A browser asks each time whether a file is
still the same, so that page and scripts always belong together, and is answered 304 if it is.

Not here: what a page does, and the headers that every answer has (``http_manners``).
"""

import hashlib
import html
from collections.abc import Iterable, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from string import Template
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

MEDIA_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Of what is served, by the end of its name; other files of the package are not."""


def page_routes(
    package: str,
    *,
    at: str,
    files_at: str,
    connect_to: Iterable[str] = (),
    images_from: Iterable[str] = (),
    values: Mapping[str, str] | None = None,
) -> list[Route]:
    """Routes for ``package``'s one page and the files that it loads; none is in the OpenAPI.

    Parameters:
        package: has the files; the one that ends in ``.html`` is the page.
        at: the page's path.
        files_at: what the other files' paths begin with, with a slash at the end.
        connect_to: addresses of services, besides this one, that the page's scripts may call.
        images_from: sources of images, besides this service, as in a Content-Security-Policy;
            without any, the page has no images at all.
        values: what takes the place of each ``$name`` in the page.
    """
    headers = {
        "Content-Security-Policy": _policy(connect_to, images_from),
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
    routes = []
    for file in sorted(files(package).iterdir(), key=lambda file: file.name):
        kind = MEDIA_TYPES.get(file.name[file.name.rfind(".") :])
        if kind is None:
            continue
        if is_page := file.name.endswith(".html"):
            safe = {name: html.escape(value) for name, value in (values or {}).items()}
            content = Template(file.read_text("utf-8")).substitute(safe).encode()
        else:
            content = file.read_bytes()
        path = at if is_page else f"{files_at}{file.name}"
        routes.append(_route(path, content, {**headers, "Content-Type": kind}))
    return routes


def file_routes(paths: Iterable[Traversable], *, at: str) -> list[Route]:
    """Routes for files from elsewhere that a page loads; ``at`` is what their paths begin with."""
    return [
        _route(
            f"{at}{file.name}",
            file.read_bytes(),
            {
                "Content-Type": MEDIA_TYPES[file.name[file.name.rfind(".") :]],
                "Cache-Control": "no-cache",
            },
        )
        for file in paths
    ]


def _policy(connect_to: Iterable[str], images_from: Iterable[str]) -> str:
    images = " ".join(images_from)
    origins = (urlsplit(address) for address in connect_to)
    connect = [f"{each.scheme}://{each.netloc}" for each in origins if each.netloc]
    rules = [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        *([f"img-src 'self' {images}"] if images else []),
        " ".join(["connect-src 'self'", *connect]),
        "form-action 'none'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
    return "; ".join(rules)


def _route(path: str, content: bytes, headers: dict[str, str]) -> Route:
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    known = {key: value for key, value in headers.items() if key != "Content-Type"} | {"ETag": tag}

    async def get(request: Request) -> Response:
        if _has(request, tag):
            return Response(status_code=304, headers=known)
        return Response(content, headers={**headers, "ETag": tag})

    return Route(path, get, include_in_schema=False)


def _has(request: Request, tag: str) -> bool:
    """Whether the client holds what ``tag`` stands for (RFC 9110 13.1.2, a weak comparison)."""
    held = request.headers.get("if-none-match", "")
    return any(each.strip().removeprefix("W/") in (tag, "*") for each in held.split(","))
