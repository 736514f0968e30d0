"""A comparison on the wire: requests and responses between a replica and its source.

``GET /v1/reconcile/digests`` returns ``DigestsBody`` of the kind that ``of`` names. They are the
maintained ones; with ``recompute=true`` they are computed from the users, and the maintained ones
are checked.
``GET /v1/reconcile/users`` returns JSON lines of one snapshot: ``StreamBegin``, then one user per
line as events carry them (``UserState`` or ``UserTombstone``), and ``StreamEnd``. A user with
unpublished events has ``"unpublished": true`` added. A stream without its last line, or with
another digest than its last line names, is invalid.
``POST /v1/reconcile/heartbeats`` returns ``HeartbeatBody``.

Not here: the digests (``digest``), sending and serving requests (each side's ``reconcile``).
"""

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from contracts.encodings import base64url_bytes, base64url_text
from contracts.sync.digest import (
    BUCKETS,
    DIGEST_BYTES,
    GROUPS,
    VERSION,
    DigestKind,
    Digests,
    PackedDigests,
    each_digest,
)

SCOPE: Final = "users:reconcile"
"""The scope that a service account needs for these requests."""

LINES: Final = "application/jsonl"
"""Media type of the stream."""

LINE_BYTES_MAX: Final = 16 * 1024
"""A user takes 330 bytes, and never more than this by the limits of ``contracts.events``."""

_TAG: Final = re.compile(r'"[\x21\x23-\x7E\x80-\xFF]*"')

RANGES_MAX: Final = 500
"""Ranges of buckets in one request; they fit into an address of 8 KiB."""

_DIGESTS_LENGTH_MAX: Final = -(-BUCKETS * DIGEST_BYTES * 4 // 3)
_RANGE: Final = "([0-9]{1,4})(?:-([0-9]{1,4}))?"

EVERY_BUCKET: Final = (range(BUCKETS),)
"""The ranges of a request for everything."""

RANGES_PATTERN: Final = f"^{_RANGE}(?:,{_RANGE})*$"
RANGES_LENGTH_MAX: Final = RANGES_MAX * len("4000-4095,")
"""The form of a text that names buckets; ``buckets_in`` also checks the numbers."""

Count = Annotated[int, Field(ge=0)]


class _Body(BaseModel):
    """Strict, and ignores fields that a newer source may add."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    source: UUID = Field(description="who the source is: made by its first migration")


class OtherVersion(ValueError):
    """The source's digests have another version; the message says which."""


class DigestsBody(_Body):
    """All digests of one kind, of one snapshot of the primary.

    Version 1 had a field ``digests`` and no ``version``: neither side mistakes the other's digests
    for its own.
    """

    version: int = Field(description="of the digests: how they are computed")
    kind: Annotated[DigestKind, Field(strict=False)]
    taken_at: AwareDatetime
    users: Count = Field(description="living ones")
    tombstones: Count
    buckets: Annotated[str, Field(max_length=_DIGESTS_LENGTH_MAX)] = Field(
        description="16 bytes for each bucket that was asked for, of 4,096, in base64url; or for"
        " each of 64 groups of buckets"
    )
    corrected: Count = Field(
        default=0, description="maintained digests that were wrong and have been corrected"
    )

    @classmethod
    def of(
        cls,
        source: UUID,
        taken_at: AwareDatetime,
        digests: PackedDigests,
        kind: DigestKind,
        *,
        corrected: int = 0,
    ) -> "DigestsBody":
        """Encode the digests of one kind, of some buckets or of all groups."""
        return cls(
            source=source,
            version=VERSION,
            kind=kind,
            taken_at=taken_at,
            users=digests.users,
            tombstones=digests.tombstones,
            buckets=base64url_text(digests.packed),
            corrected=corrected,
        )

    @classmethod
    def read(cls, content: bytes) -> "DigestsBody":
        """Read a response.

        Raises:
            OtherVersion: its digests cannot be compared with ours.
            ValidationError: it is not as agreed.
        """
        version = _Version.model_validate_json(content).version
        if version != VERSION:
            raise OtherVersion(
                f"the source speaks version {version} of the digests, and this replica version"
                f" {VERSION}: upgrade the older one"
            )
        return cls.model_validate_json(content)

    def value(self) -> Digests:
        """Decode the digests of all buckets; raises ``ValueError`` if they are not those."""
        buckets = self._decoded(BUCKETS)
        is_state = self.kind is DigestKind.STATE
        state, versions = (buckets, None) if is_state else (None, buckets)
        return Digests(self.users, self.tombstones, state, versions)

    def by_bucket(self, ranges: Sequence[range]) -> dict[int, bytes]:
        """Decode the digests of the buckets in ``ranges``; raises ``ValueError`` likewise."""
        wanted = [bucket for part in ranges for bucket in part]
        return dict(zip(wanted, each_digest(self._decoded(len(wanted))), strict=True))

    def by_group(self) -> Sequence[bytes]:
        """Decode the digests of all groups; raises ``ValueError`` likewise."""
        return each_digest(self._decoded(GROUPS))

    def _decoded(self, count: int) -> bytes:
        packed = base64url_bytes(self.buckets)
        if len(packed) != count * DIGEST_BYTES:
            raise ValueError(f"the {count} digests have another length")
        return packed


class _Version(BaseModel):
    """The version of any response with digests; the first had no field for it."""

    version: int = 1


class StreamBegin(_Body):
    """The first line of a stream of users."""

    taken_at: AwareDatetime


class StreamEnd(BaseModel):
    """The last line: how many users came, and the SHA-256 (hex) of all bytes before this line."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    end: Literal[True] = True
    count: Count
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class HeartbeatBody(_Body):
    """A heartbeat that was just recorded.

    Once the replica has applied it, all earlier published events have arrived. ``issuer`` is the
    ``source`` attribute of its event.
    """

    issuer: str
    number: Annotated[int, Field(ge=1)]
    recorded_at: AwareDatetime


def entity_tag(source: UUID, kind: DigestKind, digests: Digests) -> str:
    """Name all digests of one kind, for ``ETag`` and ``If-None-Match`` (RFC 9110).

    The tag has the version of the digests and the source, so that another source, or one that
    computes digests in another way, never confirms it.
    """
    root = bytes.fromhex(digests.root_of(kind))
    return f'"{VERSION}.{base64url_text(source.bytes)}.{base64url_text(root)}"'


def is_named(tag: str, fields: Iterable[str]) -> bool:
    """Whether the ``If-None-Match`` fields of a request name ``tag``, or anything (``*``).

    The comparison is the weak one, as RFC 9110 says for this field.
    """
    return any(field.strip() == "*" or tag in _TAG.findall(field) for field in fields)


def bucket_ranges(buckets: Iterable[int]) -> list[range]:
    """Merge ``buckets``, ascending, to the ranges that a request names.

    More than ``RANGES_MAX`` ranges become one, from the first bucket to the last: so many differ
    that naming each would cost more than the rest of the response.
    """
    ranges: list[list[int]] = []
    for bucket in buckets:
        if ranges and ranges[-1][1] == bucket - 1:
            ranges[-1][1] = bucket
        else:
            ranges.append([bucket, bucket])
    if len(ranges) > RANGES_MAX:
        ranges = [[ranges[0][0], ranges[-1][1]]]
    return [range(first, last + 1) for first, last in ranges]


def ranges_text(ranges: Iterable[range]) -> str:
    """Write ranges of buckets as a request names them: ``0-15,17``."""
    return ",".join(
        str(each.start) if len(each) == 1 else f"{each.start}-{each.stop - 1}" for each in ranges
    )


def buckets_in(ranges: str) -> list[range]:
    """Read ranges of buckets.

    Raises:
        ValueError: the text is not a list of ascending, disjoint ranges of buckets.
    """
    parts = ranges.split(",")
    if len(parts) > RANGES_MAX:
        raise ValueError(f"must name at most {RANGES_MAX} ranges")
    found: list[range] = []
    for part in parts:
        match = re.fullmatch(_RANGE, part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        after = found[-1].stop if found else 0
        if not after <= first <= last < BUCKETS:
            raise ValueError(f"must be ascending ranges of buckets, 0 to {BUCKETS - 1}: 0-15,17")
        found.append(range(first, last + 1))
    return found
