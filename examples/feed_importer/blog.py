"""The posts of the blog, kept over HTTP by a service account.

Guarantees: the API key goes to the auth service alone, and neither it nor a token is ever shown.
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
"""Of a server that wants a request later, for each try."""

TIMEOUT_SECONDS = 20

Flow = Generator[httpx.Request, httpx.Response, httpx.Response]


class Stopped(Exception):
    """It makes no sense to go on; the message says why, in one sentence."""


class ServiceAccount(httpx.Auth):
    """Adds an access token to each request: got with the API key, kept until it is about to expire.

    A token that is refused all the same is replaced by a fresh one, once.
    """

    requires_response_body = True

    def __init__(self, auth_url: str, service_id: str, api_key: str) -> None:
        self._token_url = f"{auth_url.rstrip('/')}/oauth/token"
        self._basic = base64.b64encode(f"{service_id}:{api_key}".encode()).decode()
        self._token = ""
        self._renew_at = 0.0

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """What is sent for ``request``."""
        if time.monotonic() >= self._renew_at:
            yield from self._renew()
        answer = yield from self._authorised(request)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            yield from self._renew()
            yield from self._authorised(request)

    def _authorised(self, request: httpx.Request) -> Flow:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return (yield from _patiently(request))

    def _renew(self) -> Generator[httpx.Request, httpx.Response, None]:
        asked_at = time.monotonic()
        answer = yield from _patiently(
            httpx.Request(
                "POST",
                self._token_url,
                headers={"Authorization": f"Basic {self._basic}"},
                data={"grant_type": "client_credentials", "scope": "posts:write"},
            )
        )
        said = _json(answer)
        if answer.status_code != httpx.codes.OK or not isinstance(said.get("access_token"), str):
            raise Stopped(f"the auth service gives no token: {answer.status_code} {_reason(said)}")
        self._token = said["access_token"]
        self._renew_at = asked_at + RENEW_AT * float(said.get("expires_in", 0))


def _patiently(request: httpx.Request) -> Flow:
    """The answer, after as many seconds as a busy server asks for (429, 503), within bounds."""
    for _ in range(TRIES_MAX - 1):
        answer = yield request
        if answer.status_code not in (429, 503):
            return answer
        wait = answer.headers.get("Retry-After", "1")
        if not wait.isdecimal() or int(wait) > WAIT_SECONDS_MAX:
            return answer
        time.sleep(int(wait))
    return (yield request)


class Blog:
    """The blog's API, as far as one needs it to keep posts."""

    def __init__(self, url: str, account: ServiceAccount) -> None:
        self._client = httpx.Client(base_url=url, auth=account, timeout=TIMEOUT_SECONDS)

    def keep(self, post_id: UUID, author_id: UUID, title: str, body: str) -> tuple[str, str]:
        """Have a post say this; what that meant (created, changed, unchanged, gone, refused).

        Also why, where it was refused.

        Raises:
            Stopped: another post would not fare better.
        """
        path = f"/v1/posts/{post_id}"
        before = self._text_of(self._send("GET", path))
        if before == (title, body):
            return "unchanged", ""
        post = {"author_id": str(author_id), "title": title, "body": body}
        answer = self._send("PUT", path, json=post)
        if answer.status_code == httpx.codes.CREATED:
            return "created", ""
        if answer.status_code == httpx.codes.OK:
            return "unchanged" if self._text_of(answer) == before else "changed", ""
        if answer.status_code == httpx.codes.GONE:
            return "gone", ""
        return "refused", f"{answer.status_code} {_reason(_json(answer))}"

    def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            answer = self._client.request(method, path, **content)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Stopped(f"no answer: {error or type(error).__name__}") from None
        if answer.status_code in (401, 429, 503):
            raise Stopped(f"the blog answers {answer.status_code} {_reason(_json(answer))}")
        return answer

    @staticmethod
    def _text_of(answer: httpx.Response) -> tuple[str, str] | None:
        post = _json(answer) if answer.is_success else {}
        return (post["title"], post["body"]) if {"title", "body"} <= post.keys() else None


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        said = answer.json()
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _reason(said: dict[str, Any]) -> str:
    """The stable word of a refusal: OAuth's ``error``, or a problem document's ``code``."""
    return str(said.get("error") or said.get("code") or "")
