"""Service accounts, the form of API keys, and the errors by which use cases refuse.

Pure except for the randomness of new ids and keys.
"""

import re
import secrets
import string
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, Self, cast, get_args
from zlib import crc32

from contracts.tokens import SERVICE_PREFIX
from service_kit.process.errors import OperatorError

Scope = Literal["users:reconcile", "replays:write", "posts:write"]

SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
"""Scopes that a service account may have; its tokens carry a subset."""

Status = Literal["active", "disabled"]

NAME_LENGTH_MAX: Final = 64
NAME_PATTERN: Final = f"^[A-Za-z0-9][A-Za-z0-9._-]{{0,{NAME_LENGTH_MAX - 1}}}$"
"""Safe in a shell, a URL and a log."""

LIVE_KEYS_MAX: Final = 2
"""The key in use and its successor; more would be keys that nobody watches."""

_BASE62: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase

SERVICE_ID_PATTERN: Final = f"^{SERVICE_PREFIX}[0-9A-Za-z]{{16}}$"
_ID_LENGTH: Final = 16

BRAND: Final = "usersync"
"""Prefix of every key, which identifies a leaked one."""

KEY_ID_LENGTH: Final = 12
"""71 bits: never the same for two keys, and short enough to be read aloud."""

KEY_SECRET_LENGTH: Final = 43
"""The 256 bits of 32 random bytes."""

_CHECK_LENGTH: Final = 6
"""The 32 bits of a CRC."""

KEY_ID_PATTERN: Final = f"^[0-9A-Za-z]{{{KEY_ID_LENGTH}}}$"

KEY_PATTERN: Final = (
    f"{BRAND}_[0-9A-Za-z]{{{KEY_ID_LENGTH}}}"
    f"_[0-9A-Za-z]{{{KEY_SECRET_LENGTH}}}_[0-9A-Za-z]{{{_CHECK_LENGTH}}}"
)
"""For secret scanners; published in docs/service-accounts.md."""

_KEY = re.compile(KEY_PATTERN, re.ASCII)
_NAME = re.compile(NAME_PATTERN, re.ASCII)


class ServiceError(OperatorError):
    """A use case refused; subclasses give the reason.

    ServiceError
    ├── BadServiceName
    ├── NoSuchApiKey
    ├── NoSuchService
    ├── ServiceDisabled
    ├── ServiceNameTaken
    ├── TooManyApiKeys
    └── UnknownScope
    """


class BadServiceName(ServiceError):
    """The text is not a valid name for a service account."""


class NoSuchApiKey(ServiceError):
    """There is no API key with this id."""


class NoSuchService(ServiceError):
    """There is no service account with this id or name."""


class ServiceDisabled(ServiceError):
    """The service account is disabled."""


class ServiceNameTaken(ServiceError):
    """Another service account has this name."""


class TooManyApiKeys(ServiceError):
    """The service account has the maximum of live keys."""


class UnknownScope(ServiceError):
    """There is no such scope, or none was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccount:
    """A back-end that gets tokens of its own."""

    id: str
    name: str
    scopes: tuple[str, ...]
    status: Status
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """An API key without its secret; it is live until it expires or is revoked."""

    key_id: str
    service_id: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedKey:
    """A new API key and its account; only here is the key itself available."""

    id: str
    name: str
    scopes: tuple[str, ...]
    key_id: str
    api_key: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a service sends to ``/oauth/…``: its id and its API key as text."""

    id: str
    api_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key in two parts: ``id`` finds its row, ``secret`` authenticates it."""

    id: str
    secret: str

    @classmethod
    def new(cls) -> Self:
        """Generate a key that nobody can guess."""
        return cls(_random(KEY_ID_LENGTH), _random(KEY_SECRET_LENGTH))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Parse a key; None if the text is not one, or has a typing error."""
        if not _KEY.fullmatch(text):
            return None
        signed, _, check = text.rpartition("_")
        if check != _check(signed):
            return None
        _, key_id, secret = signed.split("_")
        return cls(key_id, secret)

    @property
    def text(self) -> str:
        """``usersync_<id>_<secret>_<check>``; the checksum detects typing errors."""
        signed = f"{BRAND}_{self.id}_{self.secret}"
        return f"{signed}_{_check(signed)}"

    @property
    def hashed(self) -> bytes:
        """The input of its stored hash: the id as well, so that no hash fits another row."""
        return f"{self.id}{self.secret}".encode()

    def __repr__(self) -> str:
        """Omit the secret."""
        return f"ApiKey({self.id})"


def new_service_id() -> str:
    """Generate an id: ``svc_`` and 95 random bits, never like a user's id (RFC 9700 4.15)."""
    return f"{SERVICE_PREFIX}{_random(_ID_LENGTH)}"


def require_valid_name(name: str) -> None:
    """Accept ``name`` for a service account, or raise ``BadServiceName``.

    A name must not start like an id, because commands accept either.
    """
    if not _NAME.fullmatch(name) or name.startswith(SERVICE_PREFIX):
        raise BadServiceName(
            f"invalid name: use 1 to {NAME_LENGTH_MAX} letters, digits, '.', '_' and '-', starting "
            f"with a letter or digit, but not with {SERVICE_PREFIX}"
        )


def validate_scopes(scopes: Collection[str]) -> tuple[Scope, ...]:
    """Return ``scopes`` sorted, each once.

    Raises:
        UnknownScope: one of them does not exist, or there are none.
    """
    if not scopes or not set(scopes) <= set(SCOPES):
        raise UnknownScope(f"use one or more of the scopes {', '.join(SCOPES)}")
    return tuple(sorted(cast(set[Scope], set(scopes))))


def _random(length: int) -> str:
    return "".join(secrets.choice(_BASE62) for _ in range(length))


def _check(text: str) -> str:
    """CRC-32 (ISO 3309) in base 62: digits, then capital, then small letters."""
    number = crc32(text.encode())
    characters = []
    for _ in range(_CHECK_LENGTH):
        number, digit = divmod(number, 62)
        characters.append(_BASE62[digit])
    return "".join(reversed(characters))
