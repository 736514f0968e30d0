"""Request and response bodies of signing keys; the commands print the same members."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from auth_service.tokens.model import Keys, SigningKey, State

KID_PATTERN = "^[A-Za-z0-9_-]{43}$"
"""A thumbprint of RFC 7638 with SHA-256."""


class SigningKeyBody(BaseModel):
    """A signing key without its private half. Times are UTC."""

    kid: Annotated[str, Field(examples=["NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"])]
    state: State
    origin: Literal["configured", "database"] = Field(
        description="where the private half is: AUTH_PRIVATE_KEY, or sealed in the database"
    )
    bits: int = Field(description="length of the modulus")
    created_at: datetime
    may_be_activated_at: datetime | None = Field(description="of a pending key")
    activated_at: datetime | None
    retired_at: datetime | None
    leaves_at: datetime | None = Field(
        description="when a retired key leaves the key set, or left it"
    )
    revoked_at: datetime | None
    active_for_days: int | None = Field(description="of the active key")

    @classmethod
    def of(cls, key: SigningKey, keys: Keys) -> Self:
        """Describe one of ``keys``."""
        return cls(
            kid=key.kid,
            state=key.state,
            origin=key.origin,
            bits=key.bits,
            created_at=key.created_at,
            may_be_activated_at=keys.may_be_activated_at(key),
            activated_at=key.activated_at,
            retired_at=key.retired_at,
            leaves_at=keys.leaves_at(key),
            revoked_at=key.revoked_at,
            active_for_days=keys.active_for_days(key),
        )


class KeyChange(BaseModel):
    """The state to put a signing key into."""

    model_config = ConfigDict(extra="forbid")

    state: Literal["active", "retired", "revoked"] = Field(
        description="`active`: it signs from now on, and the former active key retires; `retired`:"
        " a pending key is withdrawn; `revoked`: every token that it signed is rejected, for good"
    )
