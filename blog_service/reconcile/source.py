"""Ask the source, the way any back-end asks another one: with a short-lived token for its API key.

Guarantees: the key goes to ``/oauth/token`` alone, in the ``Authorization`` header; one answer of
users is read as a stream and never held whole; an answer that is cut short, or is not what
``contracts.reconcile`` says, is no answer (``CouldNotCompare``), and neither is a source that is
away or refuses.

Not here: what the answers mean (``compare``).
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Final, Self, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from blog_service.reconcile.model import CouldNotCompare
from blog_service.settings import ReconcileSettings
from contracts.reconcile import (
    LINE_BYTES_MAX,
    SCOPE,
    DigestsAnswer,
    HeartbeatAnswer,
    StreamBegin,
    StreamEnd,
)

CONNECT_SECONDS_MAX: Final = 5.0
"""A source that is there accepts in milliseconds."""

TOKEN_SECONDS_MIN: Final = 30.0
"""A token with less left is not used for another question."""

BUSY_TRIES_MAX: Final = 5
BUSY_SECONDS_MAX: Final = 30.0
"""A source that says it is busy is asked again, after as long as it says, within these bounds."""

_BUSY: Final = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)

Body = TypeVar("Body", bound=BaseModel)


class Source:
    """The source's endpoints for replicas, as one service account."""

    def __init__(self, settings: ReconcileSettings) -> None:
        if settings.auth_url is None or settings.service_id is None or settings.api_key is None:
            raise CouldNotCompare(
                "there is no source to compare with: set BLOG_AUTH_URL, BLOG_SERVICE_ID and"
                " BLOG_API_KEY (auth-service services create blog --scope users:reconcile)"
            )
        self._credentials = httpx.BasicAuth(
            settings.service_id, settings.api_key.get_secret_value()
        )
        self._client = httpx.AsyncClient(
            base_url=settings.auth_url,
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(settings.reconcile_silence_seconds, connect=CONNECT_SECONDS_MAX),
            headers={"Accept-Encoding": "identity"},
        )
        self._token = ""
        self._token_ends = 0.0

    async def __aenter__(self) -> Self:
        """Nothing is asked yet."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def digests(self) -> DigestsAnswer:
        """The digests of all users."""
        return await self._ask("GET", "/v1/reconcile/digests", DigestsAnswer)

    async def heartbeat(self) -> HeartbeatAnswer:
        """Have a heartbeat recorded now."""
        return await self._ask("POST", "/v1/reconcile/heartbeats", HeartbeatAnswer)

    @asynccontextmanager
    async def users(self, ranges: str) -> AsyncIterator["UserStream"]:
        """The users of some buckets (``contracts.reconcile.bucket_ranges``), as a stream."""
        request = self._client.build_request(
            "GET", "/v1/reconcile/users", params={"buckets": ranges}
        )
        try:
            answer = await self._send(request)
            try:
                yield UserStream(answer)
            finally:
                await answer.aclose()
        except httpx.HTTPError as error:
            raise _away(error) from None

    async def _ask(self, method: str, path: str, body: type[Body]) -> Body:
        request = self._client.build_request(method, path)
        try:
            answer = await self._send(request)
            try:
                return body.model_validate_json(await answer.aread())
            finally:
                await answer.aclose()
        except httpx.HTTPError as error:
            raise _away(error) from None
        except ValidationError:
            raise CouldNotCompare(f"the source's answer to {path} is not as agreed") from None

    async def _send(self, request: httpx.Request) -> httpx.Response:
        """Send with a token until the source is not busy; an answer that is well."""
        for attempt in range(BUSY_TRIES_MAX):
            request.headers["Authorization"] = f"Bearer {await self._fresh_token()}"
            answer = await self._client.send(request, stream=True)
            if answer.is_success:
                return answer
            await answer.aclose()
            if answer.status_code not in _BUSY or attempt == BUSY_TRIES_MAX - 1:
                break
            await asyncio.sleep(_pause_seconds(answer))
        self._token_ends = 0.0
        raise _refused(answer)

    async def _fresh_token(self) -> str:
        """A token that is good for a while yet (RFC 6749 4.4)."""
        if time.monotonic() < self._token_ends - TOKEN_SECONDS_MIN:
            return self._token
        answer = await self._client.post(
            "/oauth/token",
            data={"grant_type": "client_credentials", "scope": SCOPE},
            auth=self._credentials,
        )
        if not answer.is_success:
            raise _no_token(answer)
        try:
            granted = answer.json()
            self._token = str(granted["access_token"])
            self._token_ends = time.monotonic() + float(granted["expires_in"])
        except (ValueError, KeyError, TypeError):
            raise CouldNotCompare("the source's answer to /oauth/token is not as agreed") from None
        return self._token


class UserStream:
    """The lines of one answer.

    ``begin`` is there once the first block has come, ``end`` after the last one.
    """

    def __init__(self, answer: httpx.Response) -> None:
        self._answer = answer
        self.begin: StreamBegin | None = None
        self.end: StreamEnd | None = None

    async def blocks(self) -> AsyncIterator[list[bytes]]:
        """The users' lines as they come, some hundred at a time.

        Raises:
            CouldNotCompare: the stream ends early, or is not what its last line says. What came
                before is not to be used.
        """
        digest = hashlib.sha256()
        count = 0
        # Which line is the last one shows only at the end, so one whole line is always held back.
        held = b""
        async for chunk in self._answer.aiter_raw():
            held += chunk
            last_line = held.rfind(b"\n", 0, held.rfind(b"\n")) + 1 if b"\n" in held else 0
            block, held = held[:last_line], held[last_line:]
            if len(held) > 2 * LINE_BYTES_MAX:
                raise CouldNotCompare("a line of the source's answer is too long")
            if not block:
                continue
            digest.update(block)
            lines = block.splitlines()
            if self.begin is None:
                self.begin = _line(StreamBegin, lines.pop(0))
            count += len(lines)
            yield lines
        self.end = _line(StreamEnd, held)
        if self.begin is None or (self.end.count, self.end.sha256) != (count, digest.hexdigest()):
            raise CouldNotCompare("the source's answer is damaged: its digest is another one")


Line = TypeVar("Line", StreamBegin, StreamEnd)


def _line(model: type[Line], line: bytes) -> Line:
    try:
        return model.model_validate_json(line)
    except ValidationError:
        raise CouldNotCompare(
            "the source's answer was cut short, or is not as agreed; try again"
        ) from None


def _pause_seconds(answer: httpx.Response) -> float:
    said = answer.headers.get("Retry-After", "")
    return min(float(said), BUSY_SECONDS_MAX) if said.isdecimal() else 1.0


def _away(error: httpx.HTTPError) -> CouldNotCompare:
    return CouldNotCompare(
        f"the source does not answer ({type(error).__name__}): is the auth API up at BLOG_AUTH_URL?"
    )


def _no_token(answer: httpx.Response) -> CouldNotCompare:
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        return CouldNotCompare(
            "the source does not accept BLOG_SERVICE_ID and BLOG_API_KEY: have a key issued"
            " (auth-service services rotate-key)"
        )
    if answer.status_code == httpx.codes.BAD_REQUEST:
        return CouldNotCompare(f"the service account needs the scope {SCOPE}")
    return _refused(answer)


def _refused(answer: httpx.Response) -> CouldNotCompare:
    return CouldNotCompare(
        f"the source refuses {answer.request.url.path} with status {answer.status_code}"
    )
