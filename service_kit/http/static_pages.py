"""Serve the pages of a service: files of a package, with a strict policy.

Guarantees: the policy allows no inline script, no form that the browser submits itself (it would
put a password into an address), no frame around the page, and no referrer to the next page. A
browser revalidates each file every time, so that page and scripts always match; an unchanged file
is 304.

Not here: what a page does, and the headers of every response (``middleware``).
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
"""By the end of a file's name; files with other names are not served."""


def page_routes(
    package: str,
    *,
    at: str,
    files_at: str,
    connect_to: Iterable[str] = (),
    images_from: Iterable[str] = (),
    values: Mapping[str, str] | None = None,
) -> list[Route]:
    """Make routes for a package's page and the files that it loads; none is in the OpenAPI.

    Parameters:
        package: has the files; the one that ends in ``.html`` is the page.
        at: the page's path.
        files_at: what the other files' paths begin with, with a slash at the end.
        connect_to: addresses of other services that the page's scripts may call.
        images_from: other sources of images, as in a Content-Security-Policy;
            without any, the page has no images at all.
        values: replacements for each ``$name`` in the page.
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
    """Whether the client has the content of ``tag`` (RFC 9110 13.1.2, a weak comparison)."""
    held = request.headers.get("if-none-match", "")
    return any(each.strip().removeprefix("W/") in (tag, "*") for each in held.split(","))
