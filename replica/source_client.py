"""Speak to the source as any back-end does: with a short-lived token for its API key.

Guarantees: the key goes to ``/oauth/token`` alone, in the ``Authorization`` header; no redirect is
followed and no proxy of the environment is used, so that neither key nor token reaches anybody
else; a key that is replaced in its file is used for the next token; a whole response is read up to
a limit and no further; any failure is ``NoResponse``, a sentence for operators.

Not here: what is asked, and what the responses mean (``reconcile.source``, ``replays.at_source``).
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Annotated, Any, Final

import httpx
from pydantic import BaseModel, Field, ValidationError

from replica.settings import SourceSettings
from service_kit.http import trusted
from service_kit.http.bearer import on_behalf_of
from service_kit.process.errors import BadSettings
from service_kit.process.telemetry import REQUEST_ID, request_id, traceparent

CONNECT_SECONDS_MAX: Final = 5.0
"""A source that is there accepts in milliseconds."""

IDLE_SECONDS_MAX: Final = 4.0
"""After which a connection is not used again: the source closes it after five seconds, and a
request that meets the closing fails."""

TOKEN_SECONDS_MIN: Final = 30.0
"""A token with less left is not used for another question."""

RESPONSE_BYTES_MAX: Final = 256 * 1024
"""Of a response that is read whole: digests of all users take 88 KB, a replay of a thousand named
users 40 KB."""


TURNS: Final = 1
"""Requests of one process that read users at the source at the same time: it has few places for
that, which comparisons need too."""

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class NoResponse(Exception):
    """The source gave no usable response; the message says why and what to do."""


class NotSetUp(NoResponse):
    """The settings name no source."""

    def __init__(self, settings: SourceSettings) -> None:
        url, account, key = map(settings.variable, ("auth_url", "service_id", "api_key"))
        super().__init__(
            f"there is no source to ask: set {url}, {account} and {key} (auth-service services"
            f" create {settings.service_name} --scope users:reconcile --scope replays:write)"
        )


class _Granted(BaseModel):
    """What of a token response is of use (RFC 6749 5.1); the token has letters of a header."""

    access_token: Annotated[str, Field(pattern=r"^[\x21-\x7E]+$")]
    expires_in: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Account:
    """This service's account at the source: its tokens, and connections for its questions.

    ``turns`` are taken by those who read users for a request.

    Parameters:
        settings: where the source is, and the account's key.
        silence_seconds: the longest silence of the source in the middle of a response.

    Raises:
        NotSetUp: the settings name none.
    """

    def __init__(self, settings: SourceSettings, *, silence_seconds: float) -> None:
        if settings.auth_url is None or settings.service_id is None or settings.api_key is None:
            raise NotSetUp(settings)
        self._settings = settings
        self._client = httpx.AsyncClient(
            base_url=settings.auth_url,
            verify=trusted.authorities(),
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(silence_seconds, connect=CONNECT_SECONDS_MAX),
            limits=httpx.Limits(keepalive_expiry=IDLE_SECONDS_MAX),
            # A packed response could unfold to more than was read.
            headers={"Accept-Encoding": "identity"},
        )
        for name in ("Accept", "Connection", "User-Agent"):
            del self._client.headers[name]  # a fifth of a proof's bytes, and the source reads none
        self._tokens: dict[str, tuple[str, float]] = {}  # by scope, with the second they end
        self.turns: Final = asyncio.Semaphore(TURNS)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _credentials(self) -> httpx.BasicAuth:
        try:
            return httpx.BasicAuth(*self._settings.credentials())
        except BadSettings as error:
            raise NoResponse(str(error)) from None

    async def token(self, scope: str) -> str:
        """A token for ``scope`` that is good for a while yet (RFC 6749 4.4).

        Raises:
            NoResponse: the source is away, or grants none.
        """
        token, ends = self._tokens.get(scope, ("", 0.0))
        if time.monotonic() < ends - TOKEN_SECONDS_MIN:
            return token
        request = self._client.build_request(
            "POST", "/oauth/token", data={"grant_type": "client_credentials", "scope": scope}
        )
        response = await self._sent(request, auth=self._credentials())
        content = await self.whole(response)
        if not response.is_success:
            raise self._no_token(response, scope)
        try:
            granted = _Granted.model_validate_json(content)
        except ValidationError:
            raise not_as_agreed(response) from None
        self._tokens[scope] = (granted.access_token, time.monotonic() + granted.expires_in)
        return granted.access_token

    async def send(
        self,
        method: str,
        path: str,
        *,
        scope: str,
        user_token: str | None = None,
        params: Any = None,
        json: Any = None,
        headers: Mapping[str, str] = NOTHING,
    ) -> httpx.Response:
        """Ask with a token for ``scope``; the response, of which the head has been read.

        A token that is refused is replaced once: its key may have been revoked meanwhile. The
        caller closes the response, or reads it with ``whole``. The request carries the trace and
        the id of the request that caused it.

        Parameters:
            user_token: the access token of the user on whose behalf this is asked, if it is.

        Raises:
            NoResponse: the source is away, or grants no token.
        """
        request = self._client.build_request(
            method,
            path,
            params=params,
            json=json,
            headers={
                **headers,
                **_origin(),
                **({} if user_token is None else on_behalf_of(user_token)),
            },
        )
        request.headers["Authorization"] = f"Bearer {await self.token(scope)}"
        response = await self._sent(request)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            await response.aclose()
            self._tokens.pop(scope, None)
            request.headers["Authorization"] = f"Bearer {await self.token(scope)}"
            response = await self._sent(request)
        return response

    async def whole(self, response: httpx.Response, bytes_max: int = RESPONSE_BYTES_MAX) -> bytes:
        """All of a response's body, which is closed then.

        Raises:
            NoResponse: it breaks off, or has more than ``bytes_max``.
        """
        body = bytearray()
        try:
            with self.reached():
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) > bytes_max:
                        raise not_as_agreed(response)
        finally:
            await response.aclose()
        return bytes(body)

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Send or receive inside the block.

        Raises:
            NoResponse: nothing came, or not all of it.
        """
        try:
            yield
        except httpx.HTTPError as error:
            raise NoResponse(
                f"the source does not respond ({type(error).__name__}): is the auth API up at"
                f" {self._settings.variable('auth_url')}?"
            ) from None

    async def _sent(
        self, request: httpx.Request, *, auth: httpx.Auth | None = None
    ) -> httpx.Response:
        with self.reached():
            return await self._client.send(request, stream=True, auth=auth)

    def _no_token(self, response: httpx.Response, scope: str) -> NoResponse:
        if response.status_code == httpx.codes.UNAUTHORIZED:
            account, key = map(self._settings.variable, ("service_id", "api_key"))
            return NoResponse(
                f"the source does not accept {account} and {key}: have a key issued"
                " (auth-service services rotate-key)"
            )
        if response.status_code == httpx.codes.BAD_REQUEST:
            return NoResponse(f"the service account needs the scope {scope}")
        return refused(response)


def refused(response: httpx.Response) -> NoResponse:
    """It responded, but not with what was asked for."""
    return NoResponse(
        f"the source refuses {response.request.url.path} with status {response.status_code}"
    )


def not_as_agreed(response: httpx.Response) -> NoResponse:
    """It responded with something else than agreed."""
    return NoResponse(f"the source's response to {response.request.url.path} is not as agreed")


def _origin() -> dict[str, str]:
    """The headers that tell which request a question comes from."""
    found = {REQUEST_ID.decode(): request_id.get(), "traceparent": traceparent.get()}
    return {name: value for name, value in found.items() if value is not None}
