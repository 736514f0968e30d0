"""Read users from one line of an export: of our own form, or of another system's. Pure.

Each class is one object of the export, with the fields that count; others are ignored, except in
our own form, where a mistyped name would silently be lost. ``docs/import-users.md`` has an example
of each, and where its form is described.

Guarantees: an error names the field and what is wrong with it, never its value.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final
from uuid import NAMESPACE_URL, RFC_4122, UUID, uuid5

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Json,
    ValidationError,
)

from auth_service.imports.hashes import firebase_hash, keycloak_hash, stored_hash
from auth_service.users.add_many import NewUser
from auth_service.users.foreign_hashes import UnusableHash
from auth_service.users.model import BadEmail, Status
from auth_service.users.new_address import validate_new_address
from auth_service.users.passwords import unusable_hash
from contracts.events import read_rfc3339

EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""No account is older than the clock that the exports count by."""

ID_LENGTH_MAX: Final = 255

_FIELDS_NAMED_MAX: Final = 3

_NAME: Final = re.compile(r"[$A-Za-z_][A-Za-z0-9_-]{0,39}")

_KEPT_VERSIONS: Final = frozenset({3, 4, 5, 7, 8})
"""UUIDs of these versions end in random or hashed bits. Others end in the address of a machine, so
that all users would be in one bucket of a comparison."""


class Unreadable(ValueError):
    """The line does not describe a user; the message has no value of the line."""


@dataclass(frozen=True, slots=True)
class Form:
    """How to read an export.

    ``namespace`` distinguishes the ids of several systems; ``without_ids`` is whether a user may
    have none, so that only their address tells who they are; ``rounds``, ``cost`` and ``separator``
    (in base64) are the hashing parameters of a Firebase project.
    """

    source: str
    namespace: str
    without_ids: bool = False
    separator: str = ""
    rounds: int = 8
    cost: int = 14


def _time(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return read_rfc3339(value)
    except (ValueError, OverflowError):
        raise ValueError("this is not a time") from None  # without the text


Time = Annotated[AwareDatetime, BeforeValidator(_time)]
Id = Annotated[str, Field(min_length=1, max_length=ID_LENGTH_MAX)] | int


@dataclass(frozen=True, slots=True)
class Account:
    """What a line says of a user, before it is checked; ``hashed`` is None without a password."""

    id: str | int | None
    email: str | None
    email_verified: bool = False
    is_disabled: bool = False
    created_at: datetime | None = None
    hashed: str | None = None


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class _Record(_Part):
    """One object of an export."""

    def account(self, form: Form, /) -> Account:
        """What it says of its user; raises ``UnusableHash``."""
        raise NotImplementedError


class OwnRecord(_Record):
    """Our own form."""

    model_config = ConfigDict(extra="forbid")

    email: str
    id: Id | None = None
    email_verified: bool = False
    status: Status = "active"
    created_at: Time | None = None
    password_hash: str | None = None

    def account(self, _: Form) -> Account:
        """The same."""
        return Account(
            self.id,
            self.email,
            self.email_verified,
            self.status == "disabled",
            self.created_at,
            None if self.password_hash is None else stored_hash(self.password_hash),
        )


class _DjangoFields(_Part):
    email: str
    password: str
    is_active: bool = True
    date_joined: Time | None = None


class DjangoRecord(_Record):
    """A line of ``manage.py dumpdata auth.user --format jsonl``.

    A password that begins with ``!`` cannot be used. Django does not know whether the address was
    verified.
    """

    pk: Id
    fields: _DjangoFields

    def account(self, _: Form) -> Account:
        """Its user."""
        user = self.fields
        is_usable = bool(user.password) and not user.password.startswith("!")
        return Account(
            self.pk,
            user.email,
            is_disabled=not user.is_active,
            created_at=user.date_joined,
            hashed=stored_hash(user.password) if is_usable else None,
        )


class DeviseRecord(_Record):
    """The columns of a table that Devise uses; without a pepper, which the export does not have."""

    id: Id
    email: str
    encrypted_password: str | None = None
    confirmed_at: Time | None = None
    created_at: Time | None = None

    def account(self, _: Form) -> Account:
        """Its user; someone who signs in elsewhere has an empty password."""
        return Account(
            self.id,
            self.email,
            self.confirmed_at is not None,
            created_at=self.created_at,
            hashed=stored_hash(self.encrypted_password) if self.encrypted_password else None,
        )


class _ObjectId(_Part):
    oid: Annotated[str, Field(alias="$oid", pattern=r"^[0-9a-f]{24}$")]


class _Identifier(_Part):
    type: str
    value: str
    verified: bool = False


class Auth0Record(_Record):
    """A line of the password hashes that Auth0's support hands out, or of a user export.

    The id is what Auth0 calls ``user_id``: ``auth0|`` and the object's id, unless there is another.
    """

    object_id: Annotated[_ObjectId | None, Field(alias="_id")] = None
    alt_id: str | None = None
    user_id: str | None = None
    email: str | None = None
    email_verified: bool = False
    identifiers: Sequence[_Identifier] = ()
    blocked: bool = False
    created_at: Time | None = None
    password_hash: Annotated[str | None, Field(alias="passwordHash")] = None

    def account(self, _: Form) -> Account:
        """Its user, whose address may be among the identifiers only."""
        own = self.alt_id or (None if self.object_id is None else self.object_id.oid)
        email, is_verified = self.email, self.email_verified
        if email is None:
            for each in self.identifiers:
                if each.type == "email":
                    email, is_verified = each.value, each.verified
        return Account(
            self.user_id or (f"auth0|{own}" if own else None),
            email,
            is_verified,
            self.blocked,
            self.created_at,
            stored_hash(self.password_hash) if self.password_hash else None,
        )


class FirebaseRecord(_Record):
    """One of ``users`` in the file of ``firebase auth:export``."""

    id: Annotated[str, Field(alias="localId", min_length=1, max_length=ID_LENGTH_MAX)]
    email: str | None = None
    email_verified: Annotated[bool, Field(alias="emailVerified")] = False
    password_hash: Annotated[str, Field(alias="passwordHash")] = ""
    salt: str = ""
    disabled: bool = False
    created_ms: Annotated[str | None, Field(alias="createdAt", pattern=r"^[0-9]{1,14}$")] = None

    def account(self, form: Form) -> Account:
        """Its user, who has no password if they sign in elsewhere."""
        hashed = None
        if self.password_hash:
            hashed = firebase_hash(
                self.password_hash,
                self.salt,
                separator=form.separator,
                rounds=form.rounds,
                cost=form.cost,
            )
        created = None if self.created_ms is None else _from_ms(int(self.created_ms))
        return Account(self.id, self.email, self.email_verified, self.disabled, created, hashed)


class _Credential(_Part):
    type: str
    credential: Annotated[Json[dict[str, Any]], Field(alias="credentialData")] = Field(
        default_factory=dict
    )
    secret: Annotated[Json[dict[str, Any]], Field(alias="secretData")] = Field(default_factory=dict)


class KeycloakRecord(_Record):
    """One of ``users`` in an exported realm."""

    id: Id
    email: str | None = None
    email_verified: Annotated[bool, Field(alias="emailVerified")] = False
    enabled: bool = True
    created_ms: Annotated[int | None, Field(alias="createdTimestamp", ge=0, lt=10**14)] = None
    credentials: Sequence[_Credential] = ()

    def account(self, _: Form) -> Account:
        """Its user, with the first password there is."""
        passwords = [each for each in self.credentials if each.type == "password"]
        return Account(
            self.id,
            self.email,
            self.email_verified,
            not self.enabled,
            None if self.created_ms is None else _from_ms(self.created_ms),
            keycloak_hash(passwords[0].credential, passwords[0].secret) if passwords else None,
        )


SOURCES: Final[Mapping[str, type[_Record]]] = {
    "usersync": OwnRecord,
    "django": DjangoRecord,
    "devise": DeviseRecord,
    "auth0": Auth0Record,
    "firebase": FirebaseRecord,
    "keycloak": KeycloakRecord,
}
"""By the names that ``--from`` takes."""


def read_line(line: bytes, form: Form, *, now: datetime) -> NewUser:
    """Read the user in a line.

    Parameters:
        now: the time, after which nobody can have signed up.

    Raises:
        Unreadable: it describes none that this service can have.
    """
    try:
        account = SOURCES[form.source].model_validate_json(line).account(form)
    except ValidationError as error:
        raise Unreadable(_what_is_wrong(error)) from None
    except UnusableHash as error:
        raise Unreadable(str(error)) from None
    if account.id is None and not form.without_ids:
        raise Unreadable("there is no id; --without-ids would go by the e-mail address alone")
    if not account.email:
        raise Unreadable("there is no e-mail address")
    try:
        email = validate_new_address(account.email)
    except BadEmail:
        raise Unreadable("the e-mail address is not valid, or mail cannot reach it") from None
    created = account.created_at
    if created is not None and not EARLIEST <= created <= now:
        raise Unreadable("the account was created before 1970, or in the future")
    return NewUser(
        id=None if account.id is None else user_id(str(account.id), form.namespace),
        email=email,
        email_verified=account.email_verified,
        status="disabled" if account.is_disabled else "active",
        created_at=created,
        password_hash=account.hashed or unusable_hash(),
    )


def user_id(text: str, namespace: str) -> UUID:
    """The id of a user who has the id ``text`` elsewhere: the same each time.

    A UUID stays as it is, unless it ends in the address of a machine.
    """
    try:
        given = UUID(text)
    except ValueError:
        pass
    else:
        if given.variant == RFC_4122 and given.version in _KEPT_VERSIONS:
            return given
    return uuid5(NAMESPACE_URL, f"usersync:{namespace}:{text}")


def _from_ms(milliseconds: int) -> datetime:
    return EARLIEST + timedelta(milliseconds=milliseconds)


def _what_is_wrong(error: ValidationError) -> str:
    """Name the fields and what is wrong with them, without their values."""
    wrong = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(
        f"{'.'.join(map(_name, each['loc']))}: {each['msg']}" if each["loc"] else each["msg"]
        for each in wrong[:_FIELDS_NAMED_MAX]
    )


def _name(part: str | int) -> str:
    """Return a part of a field's path; the name of an unknown field may be anything."""
    return str(part) if isinstance(part, int) or _NAME.fullmatch(part) else "?"
