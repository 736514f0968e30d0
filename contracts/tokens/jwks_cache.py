"""Verify tokens with the keys of a remote JWK Set (RFC 7517), which change while a service runs.

Guarantees: no I/O and no waiting while the current set is fresh. One fetch at a time, however many
requests need one. The set is fetched again before it expires; while the source is away, the last
one serves for a day at most. Tokens with unknown keys cause one fetch in thirty seconds, successful
or not. An invalid set changes nothing; a valid one replaces the old one as a whole. No content of a
token leads to a request to another address.

Not here: which sets are valid (``key_set``), which tokens are valid (``verifier``).
"""

import asyncio
import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

import httpx
import structlog
from prometheus_client import Counter, Gauge

from contracts.encodings import json_object
from contracts.tokens import AccessToken, KeysUnavailable, TokenVerifier, UnknownKey

log = structlog.get_logger()

fetches = Counter(
    "usersync_jwks_fetches",
    "Fetches of the key set, by what they brought: a set, the same set, or nothing usable",
    ["result"],
)
age = Gauge(
    "usersync_jwks_age_seconds", "Since the source last confirmed the keys; infinite without keys"
)

FRESH_SECONDS_MAX: Final = 300.0
"""A key that the source removes verifies here for this long at most, or for the response's
``max-age`` if that is less."""

FRESH_SECONDS_MIN: Final = 10.0
"""A response that forbids caching is kept for this long, so that not every request fetches."""

AHEAD: Final = 0.8
"""The part of that time after which the next request starts a fetch, without waiting for it."""

STALE_SECONDS_MAX: Final = 24 * 3600.0
"""A source that is away for a night stops no request; later, its keys may be revoked ones."""

UNKNOWN_KEY_PAUSE_SECONDS: Final = 30.0
"""Between two fetches for tokens with unknown keys, which anybody can invent."""

UNKNOWN_KIDS_MAX: Final = 128
UNKNOWN_KID_SECONDS: Final = 60.0
"""A ``kid`` that the source did not know causes no fetch for this long. Not longer, because the
source may publish the key a moment later."""

RETRY_SECONDS: Final = 10.0
"""Between two fetches while the source fails."""

FETCH_SECONDS_MAX: Final = 3.0
"""For the whole response; a request waits no longer for the first key set."""

RESPONSE_BYTES_MAX: Final = 64 * 1024
"""Room for the most and largest keys of a set; ours has under 2 KB."""

_MAX_AGE = re.compile(
    r"(?:^|,)\s*max-age\s*=\s*\"?(\d{1,9})\"?\s*(?:,|$)", re.ASCII | re.IGNORECASE
)
_NOT_KEPT = re.compile(r"(?:^|,)\s*no-(?:store|cache)\b", re.ASCII | re.IGNORECASE)
_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7E]{0,256}"', re.ASCII)


class JwksCache:
    """A ``Verifier`` with the keys that an issuer publishes.

    Parameters:
        url: the address of the JWK Set, http or https. Redirects are not followed, and proxies
            of the environment are not used.
        issuer: the issuer of accepted tokens.
        audience: the audience of accepted tokens.
        start: a JWK Set to use until the first response; it ages like a fetched one.
        clock: monotonic seconds.

    Raises:
        InvalidKeySet: ``start`` breaks the rules.
    """

    def __init__(
        self,
        url: str,
        *,
        issuer: str,
        audience: str,
        start: dict[str, Any] | None = None,
        fresh_seconds_max: float = FRESH_SECONDS_MAX,
        unknown_key_pause_seconds: float = UNKNOWN_KEY_PAUSE_SECONDS,
        unknown_kids_max: int = UNKNOWN_KIDS_MAX,
        retry_seconds: float = RETRY_SECONDS,
        fetch_seconds_max: float = FETCH_SECONDS_MAX,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._issuer = issuer
        self._audience = audience
        self._fresh_seconds_max = fresh_seconds_max
        self._unknown_key_pause_seconds = unknown_key_pause_seconds
        self._unknown_kids_max = unknown_kids_max
        self._retry_seconds = retry_seconds
        self._fetch_seconds_max = fetch_seconds_max
        self._clock = clock

        self._verifier = None if start is None else self._verifier_of(start)
        self._etag: str | None = None
        self._confirmed_at = clock()
        self._expires_at = -math.inf
        self._due_at = -math.inf  # of the next fetch
        self._is_failing = False
        self._asked_for_unknown_at = -math.inf
        self._unknown_kids: OrderedDict[str, float] = OrderedDict()
        self._fetching: asyncio.Task[bool] | None = None
        self._client = httpx.AsyncClient(
            trust_env=False,
            follow_redirects=False,
            timeout=fetch_seconds_max,
            # A compressed response could expand beyond the limit.
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        )
        age.set_function(self._age_seconds)

    async def __aenter__(self) -> Self:
        """Fetch nothing before the first request."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        await self.close()

    async def close(self) -> None:
        """Cancel the current fetch, and close all connections."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])
        await self._client.aclose()

    async def verify(self, token: str) -> AccessToken:
        """Verify ``token`` and return its claims.

        Raises:
            InvalidToken: the token is not valid.
            KeysUnavailable: there has never been a usable key set, or the last one is too old.
        """
        verifier = await self._current_keys()
        try:
            return verifier.verify(token)
        except UnknownKey as unknown:
            newer = await self._keys_with(unknown.kid)
            if newer is None:
                raise
        return newer.verify(token)

    async def ready(self) -> None:
        """Raise ``KeysUnavailable`` unless tokens can be verified; start a fetch if one is due."""
        await self._current_keys()

    async def refresh(self) -> bool:
        """Fetch the set now, or wait for the current fetch; return whether it succeeded.

        Never raises: a failure is logged, and the current keys stay.
        """
        return await asyncio.shield(self._current_fetch())

    async def _current_keys(self) -> TokenVerifier:
        """Return the current verifier; wait only if that can make a difference."""
        now = self._clock()
        if now >= self._due_at:
            fetching = self._current_fetch()
            # While the source fails, the current keys serve without waiting for the next failure.
            if not self._is_usable() or (now >= self._expires_at and not self._is_failing):
                await asyncio.shield(fetching)
        elif not self._is_usable() and self._fetching is not None:
            await asyncio.shield(self._fetching)
        if self._verifier is None or not self._is_usable():
            raise KeysUnavailable
        return self._verifier

    async def _keys_with(self, kid: str) -> TokenVerifier | None:
        """Return a verifier that has ``kid``; None if the source does not know the key."""
        if self._unknown_kids.get(kid, -math.inf) > self._clock():
            return None
        if self._fetching is not None:
            await asyncio.shield(self._fetching)
        # A fetch that began before the key was published may have missed it.
        if not self._has(kid) and self._may_ask_for_unknown() and await self.refresh():
            self._note_unknown(kid)
        return self._verifier if self._has(kid) else None

    def _has(self, kid: str) -> bool:
        return self._verifier is not None and self._verifier.has_key(kid)

    def _may_ask_for_unknown(self) -> bool:
        """Whether a fetch is allowed now; counted at its start, so that a failure counts too."""
        now = self._clock()
        if now < self._asked_for_unknown_at + self._unknown_key_pause_seconds:
            return False
        self._asked_for_unknown_at = now
        return True

    def _note_unknown(self, kid: str) -> None:
        """Remember for a while that the source did not know ``kid``."""
        self._unknown_kids[kid] = self._clock() + UNKNOWN_KID_SECONDS
        self._unknown_kids.move_to_end(kid)
        while len(self._unknown_kids) > self._unknown_kids_max:
            self._unknown_kids.popitem(last=False)

    def _is_usable(self) -> bool:
        return self._verifier is not None and self._age_seconds() < STALE_SECONDS_MAX

    def _age_seconds(self) -> float:
        return math.inf if self._verifier is None else self._clock() - self._confirmed_at

    def _current_fetch(self) -> asyncio.Task[bool]:
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch())
        return self._fetching

    async def _fetch(self) -> bool:
        try:
            async with asyncio.timeout(self._fetch_seconds_max):
                fresh_seconds = await self._adopt_response()
        except Exception as error:  # any response must leave the current keys in place
            self._is_failing = True
            self._due_at = self._clock() + self._retry_seconds
            fetches.labels(result="failed").inc()
            log.warning("jwks.not_fetched", reason=_describe(error))
            return False
        finally:
            self._fetching = None
        now = self._clock()
        self._is_failing = False
        self._confirmed_at = now
        self._expires_at = now + fresh_seconds
        self._due_at = now + AHEAD * fresh_seconds
        return True

    async def _adopt_response(self) -> float:
        """Fetch and adopt the set; return for how many seconds it is fresh."""
        conditions = {"If-None-Match": self._etag} if self._etag else {}
        async with self._client.stream("GET", self._url, headers=conditions) as response:
            if response.status_code == httpx.codes.NOT_MODIFIED and self._etag:
                fetches.labels(result="unchanged").inc()
                return self._fresh_seconds(response)
            if response.status_code != httpx.codes.OK:
                raise _Unusable(f"the response's status is {response.status_code}")
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > RESPONSE_BYTES_MAX:
                    raise _Unusable(f"the response has more than {RESPONSE_BYTES_MAX} bytes")
        try:
            self._verifier = self._verifier_of(json_object(bytes(body)))
        except ValueError as error:  # InvalidKeySet too, which names the rule
            raise _Unusable(str(error)) from None
        etag = response.headers.get("ETag", "")
        self._etag = etag if _ETAG.fullmatch(etag) else None
        fetches.labels(result="taken").inc()
        return self._fresh_seconds(response)

    def _fresh_seconds(self, response: httpx.Response) -> float:
        cache = response.headers.get("Cache-Control", "")
        said = _MAX_AGE.search(cache)
        seconds = float(said[1]) if said else self._fresh_seconds_max
        if _NOT_KEPT.search(cache):
            seconds = 0.0
        return max(FRESH_SECONDS_MIN, min(seconds, self._fresh_seconds_max))

    def _verifier_of(self, jwks: dict[str, Any]) -> TokenVerifier:
        return TokenVerifier.from_jwks(jwks, issuer=self._issuer, audience=self._audience)


class _Unusable(Exception):
    """The response has no usable key set; the text says why, in our words."""


def _describe(error: Exception) -> str:
    return str(error) if isinstance(error, _Unusable) else type(error).__name__
