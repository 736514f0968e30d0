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
    images_from: Iterable[str] = (),
    values: Mapping[str, str] | None = None,
) -> list[Route]:
    """Make routes for a package's page and the files that it loads; none is in the OpenAPI.

    Parameters:
        package: has the files; the one that ends in ``.html`` is the page.
        at: the page's path.
        files_at: what the other files' paths begin with, with a slash at the end.
        images_from: as for ``page_headers``.
        values: replacements for each ``$name`` in the page.
    """
    headers = page_headers(images_from=images_from)
    [page] = (file for file in files(package).iterdir() if file.name.endswith(".html"))
    content = _filled(page, _escaped(values))
    return [_page(at, content, headers), *loaded_routes(package, at=files_at, headers=headers)]


def framed_routes(
    package: str,
    *,
    frame: str,
    pages: Mapping[str, str],
    files_at: str,
    connect_to: Iterable[str] = (),
    values: Mapping[str, str] | None = None,
) -> list[Route]:
    """Make routes for pages that share a frame, and for the files that they load.

    Parameters:
        package: has the files.
        frame: the file around each page, which takes the place of ``$content`` in it.
        pages: by path, the names of their files without ``.html``.
        files_at: as for ``page_routes``.
        connect_to: as for ``page_headers``.
        values: replacements for each other ``$name`` in the frame.
    """
    headers = page_headers(connect_to)
    folder = files(package)
    escaped = _escaped(values)
    return [
        *(
            _page(
                path,
                _filled(
                    folder / frame,
                    escaped | {"content": (folder / f"{name}.html").read_text("utf-8")},
                ),
                headers,
            )
            for path, name in pages.items()
        ),
        *loaded_routes(package, at=files_at, headers=headers),
    ]


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


def page_headers(connect_to: Iterable[str] = (), images_from: Iterable[str] = ()) -> dict[str, str]:
    """Return the headers of a page.

    Parameters:
        connect_to: addresses of other services that the page's scripts may call.
        images_from: other sources of images, as in a Content-Security-Policy;
            without any, the page has no images at all.
    """
    return {
        "Content-Security-Policy": _policy(connect_to, images_from),
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }


def _escaped(values: Mapping[str, str] | None) -> dict[str, str]:
    return {name: html.escape(value) for name, value in (values or {}).items()}


def _filled(file: Traversable, values: Mapping[str, str]) -> bytes:
    return Template(file.read_text("utf-8")).substitute(values).encode()


def _page(path: str, content: bytes, headers: dict[str, str]) -> Route:
    return _route(path, content, {**headers, "Content-Type": MEDIA_TYPES[".html"]})


def loaded_routes(package: str, *, at: str, headers: dict[str, str]) -> list[Route]:
    """Make routes for the files that pages load: all that have a known type and are no page.

    Parameters:
        package: has the files.
        at: what their paths begin with.
        headers: of the responses; the type comes on top.
    """
    return [
        _route(f"{at}{file.name}", file.read_bytes(), {**headers, "Content-Type": kind})
        for file in sorted(files(package).iterdir(), key=lambda file: file.name)
        if (kind := MEDIA_TYPES.get(file.name[file.name.rfind(".") :]))
        and not file.name.endswith(".html")
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
    tag = _tag(content)

    async def get(request: Request) -> Response:
        return _unless_held(request, tag, content, headers)

    return Route(path, get, include_in_schema=False)


def unless_unchanged(request: Request, content: bytes, headers: dict[str, str]) -> Response:
    """Respond with ``content``, or with 304 if the client has it already."""
    return _unless_held(request, _tag(content), content, headers)


def _unless_held(request: Request, tag: str, content: bytes, headers: dict[str, str]) -> Response:
    if _has(request, tag):
        known = {key: value for key, value in headers.items() if key != "Content-Type"}
        return Response(status_code=304, headers=known | {"ETag": tag})
    return Response(content, headers={**headers, "ETag": tag})


def _tag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def _has(request: Request, tag: str) -> bool:
    """Whether the client has the content of ``tag`` (RFC 9110 13.1.2, a weak comparison)."""
    held = request.headers.get("if-none-match", "")
    return any(each.strip().removeprefix("W/") in (tag, "*") for each in held.split(","))
