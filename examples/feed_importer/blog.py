"""Create and update posts of the blog over HTTP, with a service account.

Guarantees: the API key is sent to the auth service only; neither key nor token is ever printed.
"""

import base64
import time
from collections.abc import Generator
from typing import Any
from uuid import UUID

import httpx

RENEW_AT = 0.9
"""The part of a token's life after which it is renewed."""

TRIES_MAX = 5
WAIT_SECONDS_MAX = 60
"""The longest wait that a server may ask for, per attempt."""

TIMEOUT_SECONDS = 20

Flow = Generator[httpx.Request, httpx.Response, httpx.Response]


class Stopped(Exception):
    """Continuing is useless; the message says why, in one sentence."""


class ServiceAccount(httpx.Auth):
    """Add an access token to each request; get it with the API key, and use it until it expires.

    If a token is rejected earlier, it is replaced by a new one, once.
    """

    requires_response_body = True

    def __init__(self, auth_url: str, service_id: str, api_key: str) -> None:
        self._token_url = f"{auth_url.rstrip('/')}/oauth/token"
        self._basic = base64.b64encode(f"{service_id}:{api_key}".encode()).decode()
        self._token = ""
        self._renew_at = 0.0

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Yield the requests to send for ``request``."""
        if time.monotonic() >= self._renew_at:
            yield from self._renew()
        response = yield from self._authorised(request)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            yield from self._renew()
            yield from self._authorised(request)

    def _authorised(self, request: httpx.Request) -> Flow:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return (yield from _patiently(request))

    def _renew(self) -> Generator[httpx.Request, httpx.Response, None]:
        asked_at = time.monotonic()
        response = yield from _patiently(
            httpx.Request(
                "POST",
                self._token_url,
                headers={"Authorization": f"Basic {self._basic}"},
                data={"grant_type": "client_credentials", "scope": "posts:write"},
            )
        )
        said = _json(response)
        if response.status_code != httpx.codes.OK or not isinstance(said.get("access_token"), str):
            raise Stopped(
                f"the auth service gives no token: {response.status_code} {_reason(said)}"
            )
        self._token = said["access_token"]
        self._renew_at = asked_at + RENEW_AT * float(said.get("expires_in", 0))


def _patiently(request: httpx.Request) -> Flow:
    """Send ``request``; retry after the seconds that a busy server names (429, 503)."""
    for _ in range(TRIES_MAX - 1):
        response = yield request
        if response.status_code not in (429, 503):
            return response
        wait = response.headers.get("Retry-After", "1")
        if not wait.isdecimal() or int(wait) > WAIT_SECONDS_MAX:
            return response
        time.sleep(int(wait))
    return (yield request)


class Blog:
    """The part of the blog's API that creates and updates posts."""

    def __init__(self, url: str, account: ServiceAccount) -> None:
        self._client = httpx.Client(base_url=url, auth=account, timeout=TIMEOUT_SECONDS)

    def upsert(self, post_id: UUID, author_id: UUID, title: str, body: str) -> tuple[str, str]:
        """Create or update a post.

        Returns:
            ``created``, ``changed``, ``unchanged``, ``gone`` or ``refused``, and the reason of a
            refusal.

        Raises:
            Stopped: the next post would fail too.
        """
        path = f"/v1/posts/{post_id}"
        before = self._text_of(self._send("GET", path))
        if before == (title, body):
            return "unchanged", ""
        post = {"author_id": str(author_id), "title": title, "body": body}
        response = self._send("PUT", path, json=post)
        if response.status_code == httpx.codes.CREATED:
            return "created", ""
        if response.status_code == httpx.codes.OK:
            return "unchanged" if self._text_of(response) == before else "changed", ""
        if response.status_code == httpx.codes.GONE:
            return "gone", ""
        return "refused", f"{response.status_code} {_reason(_json(response))}"

    def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            response = self._client.request(method, path, **content)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Stopped(f"no response: {error or type(error).__name__}") from None
        if response.status_code in (401, 429, 503):
            raise Stopped(f"the blog returns {response.status_code} {_reason(_json(response))}")
        return response

    @staticmethod
    def _text_of(response: httpx.Response) -> tuple[str, str] | None:
        post = _json(response) if response.is_success else {}
        return (post["title"], post["body"]) if {"title", "body"} <= post.keys() else None


def _json(response: httpx.Response) -> dict[str, Any]:
    try:
        said = response.json()
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _reason(said: dict[str, Any]) -> str:
    """Return the stable word of an error: OAuth's ``error``, or a problem's ``code``."""
    return str(said.get("error") or said.get("code") or "")
