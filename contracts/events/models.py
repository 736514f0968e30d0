"""The events, as typed and frozen models.

An event carries the *full state* of its user. A consumer therefore needs no call to the source, and
a single event repairs everything that was missed before it. A deletion carries no personal data.

Guarantees: models are strict (no number is read from a string), ignore unknown fields, and limit
every text. So a newer source never breaks an older consumer, and every message fits the tables.

Not here: an event on the wire (``envelope``), and which of two states wins
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
"""Every JSON reader keeps such a version exact, JavaScript included."""

EMAIL_LENGTH_MIN: Final = 3
EMAIL_LENGTH_MAX: Final = 320
ROLES_MAX: Final = 32
ROLE_LENGTH_MAX: Final = 64

CLIENT_ID_LENGTH_MAX: Final = 64
CLIENT_ID_PATTERN: Final = r"^svc_[A-Za-z0-9._-]+$"
"""The form of a service account's id in tokens; a user's id never has it."""

Version = Annotated[int, Field(ge=1, le=VERSION_MAX)]
Role = Annotated[str, Field(min_length=1, max_length=ROLE_LENGTH_MAX)]


_LEAP_SECOND: Final = re.compile(r"(T[0-9]{2}:[0-9]{2}):60(?:[.,][0-9]+)?", re.IGNORECASE)


def _instant(value: Any) -> Any:
    """Read a time from text; the model checks any other value."""
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
    """The body of a message; unknown fields are ignored on purpose."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class _UserData(_Data):
    id: UUID
    version: Version

    @property
    def subject(self) -> UUID:
        """The user that the data is about."""
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
    """What remains of a deleted user, permanently and on both sides."""

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
    """A revoked signing key, by its ``kid``; tokens that it signed are refused."""

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
        """A service account is not a user."""

    @property
    def subject_version(self) -> None:
        """A service account is not a user."""


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
    """A user changed; the data is the whole state, not the difference."""

    type: ClassVar[str] = "user.updated"
    data: UserState


@dataclass(frozen=True, slots=True, kw_only=True)
class UserDeleted(_Event):
    """A user was deleted, permanently: no later state brings them back."""

    type: ClassVar[str] = "user.deleted"
    data: UserTombstone


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat(_Event):
    """A numbered heartbeat that takes the same way as every event."""

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
"""The model of each event type's body."""


def dataschema(event_type: str) -> str:
    """Return the URI of the schema of an event type's data.

    The last part is the major version. An incompatible change gets a new number, and a consumer
    that does not know the number parks the message until its upgrade.
    """
    return f"urn:usersync:schema:{event_type}:1"


def rfc3339(instant: datetime) -> str:
    """Write a time in UTC with microseconds and ``Z``, the only form on the wire."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def read_rfc3339(text: str) -> datetime:
    """Read a time in any form of RFC 3339; without an offset it is UTC.

    Second 60 becomes the last microsecond of its minute; digits after the microsecond are dropped.

    Raises:
        ValueError: the text is not a time.
    """
    instant = _read(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
