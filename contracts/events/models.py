"""The events, as typed and frozen models.

An event carries the *full state* of its user, so that a consumer needs no call back to the source
and any single event repairs whatever was missed before it. A deletion carries no personal data.

Guarantees: models are strict (no number is read from a string), ignore fields that they do not
know, and bound every text, so that a newer source never breaks an older consumer and no message
is larger than the tables behind it.

Not here: how an event looks on the wire (``envelope``), and which of two states wins
(``contracts.sync.merge``).
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from contracts.tokens.key_set import KID_LENGTH_MAX, KID_PATTERN

VERSION_MAX: Final = 2**53 - 1
"""Versions stay exact in every JSON reader, JavaScript's included."""

EMAIL_LENGTH_MIN: Final = 3
EMAIL_LENGTH_MAX: Final = 320
ROLES_MAX: Final = 32
ROLE_LENGTH_MAX: Final = 64

CLIENT_ID_LENGTH_MAX: Final = 64
CLIENT_ID_PATTERN: Final = r"^svc_[A-Za-z0-9._-]+$"
"""As tokens of services name them; never a user's id."""

Version = Annotated[int, Field(ge=1, le=VERSION_MAX)]
Role = Annotated[str, Field(min_length=1, max_length=ROLE_LENGTH_MAX)]


_LEAP_SECOND: Final = re.compile(r"(T[0-9]{2}:[0-9]{2}):60(?:[.,][0-9]+)?", re.IGNORECASE)


def _instant(value: Any) -> Any:
    """Read a time from text; anything else is for the model to judge."""
    return _read(value) if isinstance(value, str) else value


def _read(text: str) -> datetime:
    """Read a time by all of RFC 3339.

    Second 60 becomes the last microsecond before, for neither Python nor PostgreSQL has it.
    """
    if ":60" in text:
        text = _LEAP_SECOND.sub(r"\1:59.999999", text)
    return datetime.fromisoformat(text.upper())


Instant = Annotated[AwareDatetime, BeforeValidator(_instant)]
"""A time with an offset, in any form that RFC 3339 allows."""


class _Data(BaseModel):
    """What the body of a message holds; unknown fields are ignored on purpose."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class _UserData(_Data):
    id: UUID
    version: Version

    @property
    def subject(self) -> UUID:
        """The user whom the data is about."""
        return self.id

    @property
    def subject_version(self) -> int:
        """That user's version."""
        return self.version


class UserState(_UserData):
    """Everything a replica keeps about a living user, as of ``version``.

    ``tokens_valid_after`` is a whole second: access tokens issued before it are refused.
    """

    email: Annotated[str, Field(min_length=EMAIL_LENGTH_MIN, max_length=EMAIL_LENGTH_MAX)]
    email_verified: bool
    roles: Annotated[tuple[Role, ...], Field(max_length=ROLES_MAX)]
    status: Literal["active", "disabled"]
    tokens_valid_after: Instant | None
    created_at: Instant
    updated_at: Instant


class UserTombstone(_UserData):
    """What remains of a deleted user, on both sides and for ever."""

    deleted_at: Instant


class Beat(_Data):
    """The heartbeat's number, one higher each time: a gap means that events were lost."""

    number: Annotated[int, Field(ge=1, le=VERSION_MAX)]

    @property
    def subject(self) -> None:
        """A heartbeat is about no user."""

    @property
    def subject_version(self) -> None:
        """A heartbeat is about no user."""


class RevokedKey(_Data):
    """A signing key (by its ``kid``) that verifies nothing any more, whatever its tokens say."""

    kid: Annotated[str, Field(min_length=1, max_length=KID_LENGTH_MAX, pattern=KID_PATTERN)]
    revoked_at: Instant

    @property
    def subject(self) -> None:
        """A key belongs to no user."""

    @property
    def subject_version(self) -> None:
        """A key belongs to no user."""


class ServiceState(_Data):
    """Whether the access tokens of a service account count, as of ``version``.

    ``tokens_valid_after`` is a whole second: tokens issued before it are refused, and all of them
    unless the status is ``active``.
    """

    client_id: Annotated[
        str, Field(min_length=1, max_length=CLIENT_ID_LENGTH_MAX, pattern=CLIENT_ID_PATTERN)
    ]
    version: Version
    status: Literal["active", "disabled", "deleted"]
    tokens_valid_after: AwareDatetime

    @property
    def subject(self) -> None:
        """A service account is no user."""

    @property
    def subject_version(self) -> None:
        """A service account is no user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    """The CloudEvents attributes that all events share.

    ``time`` is the source database's clock when the event was recorded, and for a deletion the
    tombstone's ``deleted_at``; ``sequence`` is the position in the source's log; ``traceparent``
    the trace of the request that caused the event (W3C Trace Context).
    """

    id: UUID
    source: str
    time: datetime
    sequence: int | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UserCreated(_Event):
    """A user signed up."""

    type: ClassVar[str] = "user.created"
    data: UserState


@dataclass(frozen=True, slots=True, kw_only=True)
class UserUpdated(_Event):
    """Something about a user changed; the data is his whole state, not the difference."""

    type: ClassVar[str] = "user.updated"
    data: UserState


@dataclass(frozen=True, slots=True, kw_only=True)
class UserDeleted(_Event):
    """A user is gone, finally: no later state brings him back."""

    type: ClassVar[str] = "user.deleted"
    data: UserTombstone


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat(_Event):
    """A sign of life that travels the same way as every event."""

    type: ClassVar[str] = "sync.heartbeat"
    data: Beat


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRevoked(_Event):
    """An operator revoked a signing key; tokens that it signed are refused from now on."""

    type: ClassVar[str] = "key.revoked"
    data: RevokedKey


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceChanged(_Event):
    """A service account was deleted, disabled or enabled, or one of its API keys was revoked."""

    type: ClassVar[str] = "service.changed"
    data: ServiceState


UserEvent = UserCreated | UserUpdated | UserDeleted
Event = UserEvent | Heartbeat | KeyRevoked | ServiceChanged
Data = UserState | UserTombstone | Beat | RevokedKey | ServiceState

DATA_OF: Final[dict[str, type[Data]]] = {
    UserCreated.type: UserState,
    UserUpdated.type: UserState,
    UserDeleted.type: UserTombstone,
    Heartbeat.type: Beat,
    KeyRevoked.type: RevokedKey,
    ServiceChanged.type: ServiceState,
}
"""Which model the body of each type of event follows."""


def dataschema(event_type: str) -> str:
    """The URI of the schema of ``event_type``'s data.

    Its last part is the major version. A compatible change keeps it; an incompatible one gets a
    new number, and a consumer that does not know that number parks the message until its upgrade.
    """
    return f"urn:usersync:schema:{event_type}:1"


def rfc3339(instant: datetime) -> str:
    """``instant`` in UTC, with microseconds and ``Z``: the one form in which times travel."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def read_rfc3339(text: str) -> datetime:
    """The time that ``text`` names, by all of RFC 3339; without an offset it is UTC.

    Second 60 is read as the last microsecond of its minute, digits past the microsecond are cut.

    Raises:
        ValueError: it names no time.
    """
    instant = _read(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
