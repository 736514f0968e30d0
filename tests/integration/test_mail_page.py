"""The page that links in mails open: what it loads, and what its headers forbid."""

import re

import httpx

from tests.support.in_turn import in_turn

FILES = {
    "/link": "text/html; charset=utf-8",
    "/link/link.js": "text/javascript; charset=utf-8",
    "/link/link.css": "text/css; charset=utf-8",
}


@in_turn(("path", "kind"), FILES.items())
async def test_the_page_may_load_only_its_own_files(
    path: str, kind: str, api: httpx.AsyncClient
) -> None:
    """No script, frame, form or request but its own, and no address in the next page's referrer."""
    answer = await api.get(path)

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == kind
    policy = dict(rule.split(" ", 1) for rule in answer.headers[CSP].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
    }
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


CSP = "Content-Security-Policy"


async def test_the_page_complies_with_its_own_policy(api: httpx.AsyncClient) -> None:
    """Everything that it loads exists, and its own policy blocks nothing of it."""
    page = (await api.get("/link")).text

    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert {f"/{path}" for path in loaded} == FILES.keys() - {"/link"}
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script[^>]*>[^<]", page)
    # Each control has a name, and screen readers announce the status.
    labelled = set(re.findall(r'<label for="(\w+)"', page))
    assert labelled == {"password"}
    assert 'role="status"' in page


async def test_the_script_calls_existing_routes(api: httpx.AsyncClient) -> None:
    script = (await api.get("/link/link.js")).text
    paths = re.findall(r'path: "([^"]+)"', script)
    described = (await api.get("/openapi.json")).json()["paths"]
    assert len(paths) == 3
    assert {f"/{path}" for path in paths} <= described.keys()
