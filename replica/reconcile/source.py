"""Ask the source what it has, as this service's own account.

Guarantees: a response with users is read as a stream and never held whole; one that is cut short,
or is not what ``contracts.sync.comparison`` says, raises ``CouldNotCompare``, and so does a source
that is away or refuses.

Not here: tokens and connections (``source_client``), what the responses mean (``compare``).
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx
from pydantic import ValidationError

from contracts.sync.certificate import CertificateRequest, CertificationBody
from contracts.sync.certificate_keys import CertificateKeys
from contracts.sync.comparison import (
    EVERY_BUCKET,
    LINE_BYTES_MAX,
    SCOPE,
    DigestsBody,
    HeartbeatBody,
    OtherVersion,
    StreamBegin,
    StreamEnd,
    ranges_text,
)
from contracts.sync.digest import DigestKind
from replica.reconcile.model import CouldNotCompare
from replica.settings import ReconcileSettings
from replica.source_client import NOTHING, Account, NoResponse, not_as_agreed, refused

BUSY_TRIES_MAX: Final = 5
BUSY_SECONDS_MAX: Final = 30.0
"""A source that says it is busy is asked again, after as long as it says, within these bounds."""

_BUSY: Final = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)

_DIGESTS: Final = "/v1/reconcile/digests"

Body = TypeVar("Body", HeartbeatBody, CertificationBody, CertificateKeys)


@contextmanager
def digests_as_agreed() -> Iterator[None]:
    """Decode the digests of a response inside the block.

    Raises:
        CouldNotCompare: they are malformed.
    """
    try:
        yield
    except ValueError:
        raise CouldNotCompare("the source's digests are not as agreed") from None


class Source:
    """The source's endpoints for replicas.

    Parameters:
        asking: the settings of an account for these requests alone, or an account that others
            use too, which stays open.

    Raises:
        CouldNotCompare: the settings name no source.
    """

    def __init__(self, asking: ReconcileSettings | Account) -> None:
        self._is_shared = isinstance(asking, Account)
        if isinstance(asking, Account):
            self._account = asking
            return
        with _or_no_verdict():
            self._account = Account(asking, silence_seconds=asking.reconcile_silence_seconds)

    async def __aenter__(self) -> Self:
        """Nothing is asked yet."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connections, unless others use them."""
        if not self._is_shared:
            await self._account.aclose()

    async def digests(
        self,
        kind: DigestKind,
        ranges: Sequence[range] = EVERY_BUCKET,
        *,
        recompute: bool = False,
    ) -> DigestsBody:
        """The digests of one kind, of all users or those in some buckets.

        Parameters:
            recompute: have them computed from the users, and the maintained ones checked.
        """
        params = _params(kind, ranges) | ({"recompute": "true"} if recompute else {})
        with _or_no_verdict():
            return await self._digests(await self._send("GET", _DIGESTS, params))

    async def groups_unless(self, kind: DigestKind, tag: str) -> DigestsBody | None:
        """The digests of all groups; None if ``tag`` (``entity_tag``) names the source's digests.

        Raises:
            CouldNotCompare: also for a confirmation that does not name the tag itself.
        """
        with _or_no_verdict():
            params = _params(kind, EVERY_BUCKET) | {"groups": "1"}
            response = await self._send("GET", _DIGESTS, params, headers={"If-None-Match": tag})
            if response.status_code != httpx.codes.NOT_MODIFIED:
                return await self._digests(response)
            await self._account.whole(response)
            if response.headers.get("ETag") != tag:
                raise not_as_agreed(response)
            return None

    async def certificate(self, asked: CertificateRequest) -> CertificationBody:
        """A certificate; without one in the response, the digests differ at this moment."""
        return await self._read(
            CertificationBody,
            "POST",
            "/v1/reconcile/certificates",
            json=asked.model_dump(mode="json"),
        )

    async def keys(self) -> CertificateKeys:
        """The public keys that verify certificates, with their states."""
        return await self._read(CertificateKeys, "GET", "/v1/reconcile/keys")

    async def heartbeat(self) -> HeartbeatBody:
        """Have a heartbeat recorded now."""
        return await self._read(HeartbeatBody, "POST", "/v1/reconcile/heartbeats")

    @asynccontextmanager
    async def users(self, ranges: Sequence[range]) -> AsyncIterator["UserStream"]:
        """The users of some buckets (``bucket_ranges``), as a stream."""
        with _or_no_verdict():
            response = await self._send(
                "GET", "/v1/reconcile/users", params={"buckets": ranges_text(ranges)}
            )
            try:
                with self._account.reached():
                    yield UserStream(response)
            finally:
                await response.aclose()

    async def _read(self, model: type[Body], method: str, path: str, json: Any = None) -> Body:
        with _or_no_verdict():
            response = await self._send(method, path, json=json)
            try:
                return model.model_validate_json(await self._account.whole(response))
            except ValidationError:
                raise not_as_agreed(response) from None

    async def _send(
        self,
        method: str,
        path: str,
        params: Any = None,
        headers: Mapping[str, str] = NOTHING,
        json: Any = None,
    ) -> httpx.Response:
        """Ask until the source is not busy; a response that is well, of which the head was read."""
        for attempt in range(BUSY_TRIES_MAX):
            response = await self._account.send(
                method, path, scope=SCOPE, params=params, headers=headers, json=json
            )
            is_unchanged = response.status_code == httpx.codes.NOT_MODIFIED and bool(headers)
            if response.is_success or is_unchanged:
                return response
            await response.aclose()
            if response.status_code not in _BUSY or attempt == BUSY_TRIES_MAX - 1:
                break
            await asyncio.sleep(_pause_seconds(response))
        raise refused(response)

    async def _digests(self, response: httpx.Response) -> DigestsBody:
        try:
            return DigestsBody.read(await self._account.whole(response))
        except OtherVersion as error:
            raise CouldNotCompare(str(error)) from None
        except ValidationError:
            raise not_as_agreed(response) from None


def _params(kind: DigestKind, ranges: Sequence[range]) -> dict[str, str]:
    """The parameters of a request for digests; those that are the default are left out."""
    params = {} if kind is DigestKind.STATE else {"of": kind.value}
    return params if ranges is EVERY_BUCKET else params | {"buckets": ranges_text(ranges)}


class UserStream:
    """The lines of one response.

    ``begin`` is there once the first block has come.
    """

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.begin: StreamBegin | None = None

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
        async for chunk in self._response.aiter_raw():
            held += chunk
            last_line = held.rfind(b"\n", 0, held.rfind(b"\n")) + 1 if b"\n" in held else 0
            block, held = held[:last_line], held[last_line:]
            if len(held) > 2 * LINE_BYTES_MAX:
                raise CouldNotCompare("a line of the source's response is too long")
            if not block:
                continue
            digest.update(block)
            lines = block.splitlines()
            if self.begin is None:
                self.begin = _line(StreamBegin, lines.pop(0))
            count += len(lines)
            yield lines
        end = _line(StreamEnd, held)
        if self.begin is None or (end.count, end.sha256) != (count, digest.hexdigest()):
            raise CouldNotCompare("the source's response is damaged: its digest is another one")


Line = TypeVar("Line", StreamBegin, StreamEnd)


def _line(model: type[Line], line: bytes) -> Line:
    try:
        return model.model_validate_json(line)
    except ValidationError:
        raise CouldNotCompare(
            "the source's response was cut short, or is not as agreed; try again"
        ) from None


def _pause_seconds(response: httpx.Response) -> float:
    said = response.headers.get("Retry-After", "")
    return min(float(said), BUSY_SECONDS_MAX) if said.isdecimal() else 1.0


@contextmanager
def _or_no_verdict() -> Iterator[None]:
    """Turn a missing response of the source inside the block into a missing verdict."""
    try:
        yield
    except NoResponse as error:
        raise CouldNotCompare(str(error)) from None
