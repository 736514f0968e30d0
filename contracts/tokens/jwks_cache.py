"""Verify tokens with the keys of a remote JWK Set (RFC 7517), which change while a service runs.

Guarantees: no I/O and no waiting while the set at hand is fresh; one fetch at a time, however many
requests want one; the set is fetched anew before it expires, and an old one serves while the source
is away, for a day at most; tokens with unknown keys cause one fetch in thirty seconds, whether it
succeeds or not; a set that breaks the rules changes nothing, a good one replaces the old one whole;
nothing in a token leads to a request to anywhere.

Not here: what a good set is (``key_set``), what a good token is (``tokens``).
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
"""A key that vanishes from the source verifies here for that long at most (or the answer's own
``max-age``, if that is less)."""

FRESH_SECONDS_MIN: Final = 10.0
"""An answer that must not be kept is kept for that long: a request must not cost a fetch."""

AHEAD: Final = 0.8
"""The part of that time after which the next request has the set fetched without waiting for it."""

STALE_SECONDS_MAX: Final = 24 * 3600.0
"""A source that is away for a night stops nobody; later, keys that may be revoked count no more."""

UNKNOWN_KEY_PAUSE_SECONDS: Final = 30.0
"""Between two fetches for tokens with unknown keys, which anybody can make up."""

UNKNOWN_KIDS_MAX: Final = 128
UNKNOWN_KID_SECONDS: Final = 60.0
"""A ``kid`` that the source did not know does not cost a fetch again for that long. Not longer: of
a key that is new at the source, somebody may have asked a moment too early."""

RETRY_SECONDS: Final = 10.0
"""Between two tries while the source fails."""

FETCH_SECONDS_MAX: Final = 3.0
"""For the whole answer; those who wait for a first key set wait no longer than that."""

ANSWER_BYTES_MAX: Final = 64 * 1024
"""Room for the most and the largest keys that a set may hold; ours has under 2 KB."""

_MAX_AGE = re.compile(
    r"(?:^|,)\s*max-age\s*=\s*\"?(\d{1,9})\"?\s*(?:,|$)", re.ASCII | re.IGNORECASE
)
_NOT_KEPT = re.compile(r"(?:^|,)\s*no-(?:store|cache)\b", re.ASCII | re.IGNORECASE)
_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7E]{0,256}"', re.ASCII)


class JwksCache:
    """A ``Verifier`` with the keys that are published at an address.

    Parameters:
        url: of the JWK Set, http or https. Redirects are not followed, and no proxy of the
            environment is used.
        issuer: whose tokens are accepted.
        audience: to whom they are made out.
        start: a JWK Set to begin with, until the first answer; it ages like a fetched one.
        clock: seconds that only ever grow.

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
            # A packed answer could unfold to more than was read.
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        )
        age.set_function(self._age_seconds)

    async def __aenter__(self) -> Self:
        """Nothing is fetched before the first request."""
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
        """Give up a fetch that is under way, and all connections."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])
        await self._client.aclose()

    async def verify(self, token: str) -> AccessToken:
        """The claims of ``token``.

        Raises:
            InvalidToken: it is anything less than a valid one.
            KeysUnavailable: there has never been a usable key set, or the last one is too old.
        """
        verifier = await self._keys_at_hand()
        try:
            return verifier.verify(token)
        except UnknownKey as unknown:
            newer = await self._keys_with(unknown.kid)
            if newer is None:
                raise
        return newer.verify(token)

    async def ready(self) -> None:
        """Raise ``KeysUnavailable`` unless tokens can be verified; have the set fetched if due."""
        await self._keys_at_hand()

    async def refresh(self) -> bool:
        """Fetch the set now, or wait for the fetch that is under way; whether it was confirmed.

        Never raises: whatever goes wrong is logged, and the keys at hand remain.
        """
        return await asyncio.shield(self._fetch_under_way())

    async def _keys_at_hand(self) -> TokenVerifier:
        """What to verify with; waits only where that could make a difference."""
        now = self._clock()
        if now >= self._due_at:
            fetching = self._fetch_under_way()
            # While the source fails, the keys at hand serve without waiting for the next failure.
            if not self._is_usable() or (now >= self._expires_at and not self._is_failing):
                await asyncio.shield(fetching)
        elif not self._is_usable() and self._fetching is not None:
            await asyncio.shield(self._fetching)
        if self._verifier is None or not self._is_usable():
            raise KeysUnavailable
        return self._verifier

    async def _keys_with(self, kid: str) -> TokenVerifier | None:
        """Verify with this instead, for it has ``kid``; None when the source does not know it."""
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
        """Whether it is time to; counted before the answer, so that a failure counts as well."""
        now = self._clock()
        if now < self._asked_for_unknown_at + self._unknown_key_pause_seconds:
            return False
        self._asked_for_unknown_at = now
        return True

    def _note_unknown(self, kid: str) -> None:
        """Remember for a while that the source was asked; a key that it has is found before."""
        self._unknown_kids[kid] = self._clock() + UNKNOWN_KID_SECONDS
        self._unknown_kids.move_to_end(kid)
        while len(self._unknown_kids) > self._unknown_kids_max:
            self._unknown_kids.popitem(last=False)

    def _is_usable(self) -> bool:
        return self._verifier is not None and self._age_seconds() < STALE_SECONDS_MAX

    def _age_seconds(self) -> float:
        return math.inf if self._verifier is None else self._clock() - self._confirmed_at

    def _fetch_under_way(self) -> asyncio.Task[bool]:
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch())
        return self._fetching

    async def _fetch(self) -> bool:
        try:
            async with asyncio.timeout(self._fetch_seconds_max):
                fresh_seconds = await self._take_answer()
        except Exception as error:  # whatever the other side sends, the keys at hand remain
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

    async def _take_answer(self) -> float:
        """Take over what the source answers; for how many seconds it is fresh."""
        conditions = {"If-None-Match": self._etag} if self._etag else {}
        async with self._client.stream("GET", self._url, headers=conditions) as answer:
            if answer.status_code == httpx.codes.NOT_MODIFIED and self._etag:
                fetches.labels(result="unchanged").inc()
                return self._fresh_seconds(answer)
            if answer.status_code != httpx.codes.OK:
                raise _Unusable(f"the answer's status is {answer.status_code}")
            body = bytearray()
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > ANSWER_BYTES_MAX:
                    raise _Unusable(f"the answer has more than {ANSWER_BYTES_MAX} bytes")
        try:
            self._verifier = self._verifier_of(json_object(bytes(body)))
        except ValueError as error:  # InvalidKeySet too, which names the rule
            raise _Unusable(str(error)) from None
        etag = answer.headers.get("ETag", "")
        self._etag = etag if _ETAG.fullmatch(etag) else None
        fetches.labels(result="taken").inc()
        return self._fresh_seconds(answer)

    def _fresh_seconds(self, answer: httpx.Response) -> float:
        cache = answer.headers.get("Cache-Control", "")
        said = _MAX_AGE.search(cache)
        seconds = float(said[1]) if said else self._fresh_seconds_max
        if _NOT_KEPT.search(cache):
            seconds = 0.0
        return max(FRESH_SECONDS_MIN, min(seconds, self._fresh_seconds_max))

    def _verifier_of(self, jwks: dict[str, Any]) -> TokenVerifier:
        return TokenVerifier.from_jwks(jwks, issuer=self._issuer, audience=self._audience)


class _Unusable(Exception):
    """An answer that holds no key set; the text says why, in words of ours."""


def _describe(error: Exception) -> str:
    return str(error) if isinstance(error, _Unusable) else type(error).__name__
