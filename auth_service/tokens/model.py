"""Signing keys: their states, which of them sign and verify, and which changes are allowed.

::

    pending ──activate──▶ active ──another is activated──▶ retired
        └─────────────────withdraw─────────────────────────▶
    any of them ──revoke──▶ revoked

Guarantees: pure. Unless an operator forces it, no key signs before verifiers can have fetched it,
and none leaves the key set while its tokens are valid. A revoked key never returns.

Not here: the table (``store``), operators' changes (``lifecycle``), the private halves
(``private_keys``).
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Literal

from contracts.encodings import base64url_bytes
from service_kit.process.errors import OperatorError
from service_kit.process.times import time_text

BITS_MIN: Final = 2048
"""Verifiers refuse shorter keys (``contracts.tokens.keys.RSA_BITS_MIN``; a test compares them)."""

BITS: Final = 3072
"""As strong as 128 bits, which NIST SP 800-57 requires beyond 2030."""

PUBLISHED_MAX: Final = 16
"""A rotation needs two. Verifiers refuse a set of more than 32, and keys of AUTH_PRIVATE_KEY come
on top of the generated ones."""


class State(StrEnum):
    """The state of a key."""

    PENDING = "pending"
    ACTIVE = "active"
    RETIRED = "retired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A row of the table; ``sealed_private_key`` is None for a key of AUTH_PRIVATE_KEY."""

    kid: str
    state: State
    public_jwk: dict[str, Any]
    sealed_private_key: bytes | None = field(repr=False)
    created_at: datetime
    activated_at: datetime | None
    retired_at: datetime | None
    revoked_at: datetime | None

    @property
    def is_configured(self) -> bool:
        """Whether its private half is, or was, in AUTH_PRIVATE_KEY and nowhere else."""
        return self.sealed_private_key is None

    @property
    def origin(self) -> Literal["configured", "database"]:
        """``configured`` or ``database``, for people and the audit log."""
        return "configured" if self.is_configured else "database"

    @property
    def bits(self) -> int:
        """The length of its modulus."""
        return int.from_bytes(base64url_bytes(self.public_jwk["n"]), "big").bit_length()


@dataclass(frozen=True, slots=True, kw_only=True)
class Periods:
    """How long a key is published before it may sign, and after it was retired."""

    wait: timedelta
    hold: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The keys at one moment, ``now``, by the database's clock."""

    keys: tuple[SigningKey, ...]
    now: datetime
    periods: Periods

    @property
    def active(self) -> SigningKey | None:
        """The key that signs."""
        return next(iter(self._in(State.ACTIVE)), None)

    @property
    def pending(self) -> list[SigningKey]:
        """The keys that may become active, oldest first."""
        return sorted(self._in(State.PENDING), key=lambda key: key.created_at)

    @property
    def held(self) -> list[SigningKey]:
        """The retired keys that are still published, the last to leave first."""
        return self._held_until(self.now)

    @property
    def published(self) -> list[SigningKey]:
        """The key set, by which tokens are verified."""
        return [*self._in(State.ACTIVE), *self.pending, *self.held]

    def by_preference(self, token_lasts: timedelta) -> list[SigningKey]:
        """The keys that may sign, the active one before its substitutes.

        A process may lack the private half of the active key, for example while AUTH_PRIVATE_KEY is
        changed in one process after another. It then signs with a key that verifiers know: a
        retired one that stays published longer than a token signed now, or its configured one.
        """
        lasting = self._held_until(self.now + token_lasts)
        configured = [key for key in self.pending if key.is_configured]
        return [*self._in(State.ACTIVE), *lasting, *configured]

    def get(self, kid: str) -> SigningKey | None:
        """The key with exactly this ``kid``."""
        return next((key for key in self.keys if key.kid == kid), None)

    def find(self, prefix: str) -> SigningKey:
        """The key whose ``kid`` is, or alone begins with, ``prefix``.

        Raises:
            NoSuchKey, AmbiguousKid: there is none, or more than one.
        """
        found = [key for key in self.keys if prefix and key.kid.startswith(prefix)]
        if not found:
            raise NoSuchKey(f"no key's id begins with {prefix!r}; see `auth-service keys list`")
        if len(found) > 1:
            raise AmbiguousKid(f"the ids of {len(found)} keys begin with {prefix!r}; give more")
        return found[0]

    def may_be_activated_at(self, key: SigningKey) -> datetime | None:
        """When a pending key may start to sign; at once if there is no active key."""
        if key.state is not State.PENDING:
            return None
        return key.created_at + self.periods.wait if self.active else key.created_at

    def active_for_days(self, key: SigningKey) -> int | None:
        """For how many days the active key has signed."""
        if key.state is not State.ACTIVE or key.activated_at is None:
            return None
        return (self.now - key.activated_at).days

    def leaves_at(self, key: SigningKey) -> datetime | None:
        """When a retired key leaves the key set, or left it."""
        if key.state is not State.RETIRED or key.retired_at is None:
            return None
        return key.retired_at + self.periods.hold

    def require_room(self) -> None:
        """Raise ``TooManyKeys`` unless one more key may be published."""
        if len(self.published) >= PUBLISHED_MAX:
            raise TooManyKeys(
                f"{PUBLISHED_MAX} keys are published already; wait until retired ones have left,"
                " or revoke some (`auth-service keys list`)"
            )

    def require_activatable(self, key: SigningKey, *, force: bool) -> None:
        """Raise unless ``key``, which is not active, may become so.

        Raises:
            Gone: it was retired or revoked.
            TooSoon: verifiers may have a cached key set without it; ``force`` ignores that.
        """
        if key.state is not State.PENDING:
            raise Gone(
                f"{key.kid} is {key.state} and cannot be activated again; generate a new key:"
                " `auth-service keys generate`"
            )
        at = self.may_be_activated_at(key)
        if at is not None and self.now < at and not force:
            raise TooSoon(
                f"{key.kid} may be activated from {reached_text(at)}, when every verifier has"
                " it; --force activates it now, and tokens may be refused until then"
            )

    def require_retirable(self, key: SigningKey) -> None:
        """Raise unless ``key`` is pending or retired.

        Raises:
            StillActive: it is the active key.
            Gone: it was revoked.
        """
        if key.state is State.ACTIVE:
            raise StillActive(
                f"{key.kid} is the active key; activate another key, which retires this one"
            )
        if key.state is State.REVOKED:
            raise Gone(f"{key.kid} is revoked, which is permanent")

    def _in(self, state: State) -> list[SigningKey]:
        return [key for key in self.keys if key.state is state]

    def _held_until(self, instant: datetime) -> list[SigningKey]:
        leaving = [(at, key) for key in self.keys if (at := self.leaves_at(key)) is not None]
        leaving.sort(key=lambda pair: pair[0], reverse=True)
        return [key for at, key in leaving if at > instant]


class ImportStep(StrEnum):
    """How to import the key of AUTH_PRIVATE_KEY."""

    ADD = "add"
    """Publish it; the active key stays active."""
    ADD_ACTIVE = "add and activate"
    ACTIVATE = "activate"
    """It was retired, and signs again."""


def import_step(
    keys: Keys, kid: str, *, active_is_lost: bool, token_lasts: timedelta
) -> ImportStep | None:
    """Decide how to import the key of AUTH_PRIVATE_KEY, whose id is ``kid``; None: not at all.

    Setting another key and restarting changes the key that signs. Processes that still have the
    former key keep signing with it, so that two processes do not alternate. They import it again
    only when it leaves the key set, and with it their tokens expire.

    Parameters:
        active_is_lost: whether this process takes the active key's private half to be lost.
        token_lasts: for how long a token is accepted after it was signed.
    """
    key = keys.get(kid)
    if key is None:
        signs = keys.active is None or active_is_lost
        return ImportStep.ADD_ACTIVE if signs else ImportStep.ADD
    if key.state is State.RETIRED and active_is_lost and key not in keys.by_preference(token_lasts):
        return ImportStep.ACTIVATE
    return None


def reached_text(at: datetime) -> str:
    """Format a time that has to be reached, rounded up: in that second it is."""
    full = at if at.microsecond == 0 else at.replace(microsecond=0) + timedelta(seconds=1)
    return time_text(full)


class KeyRefusal(OperatorError):
    """A change of keys was refused; the message says what to do."""


class NoSuchKey(KeyRefusal):
    """No key has this id."""


class AmbiguousKid(KeyRefusal):
    """More than one key's id begins like this."""


class TooManyKeys(KeyRefusal):
    """The key set is full."""


class TooSoon(KeyRefusal):
    """Verifiers may not have fetched the key yet."""


class Gone(KeyRefusal):
    """The key was retired or revoked."""


class StillActive(KeyRefusal):
    """The key is the active one."""


class PrivateKeyMissing(KeyRefusal):
    """The private half of the key is not available."""
