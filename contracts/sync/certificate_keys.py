"""The public keys that verify certificates: all that a source has ever had, with their states.

Certificates outlive the key set of the moment (``/.well-known/jwks.json``), which drops a key soon
after it was retired. A retired key still verifies what it signed in its time. A revoked key was in
other hands: what it signed proves nothing, even if its time is earlier.

``auth-service keys export`` and ``GET /v1/reconcile/keys`` return ``CertificateKeys``. It is a JWK
Set (RFC 7517) whose keys have a few more members.
"""

from collections.abc import Mapping
from typing import Any, Literal, Self
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts.events.models import Instant
from contracts.tokens.key_set import read_key_set


class CertificateKey(BaseModel):
    """A public key as a JWK, with its state and the times between which it could sign."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kid: str
    state: Literal["pending", "active", "retired", "revoked"]
    created_at: Instant
    signs_until: Instant | None = Field(
        default=None, description="when a retired key left the key set; null: it still signs"
    )
    revoked_at: Instant | None = None

    @classmethod
    def of(cls, jwk: Mapping[str, Any], **state: Any) -> Self:
        """Add its state to a JWK."""
        return cls.model_validate({**jwk, **state})

    def public_key(self) -> RSAPublicKey:
        """Decode the key; raises ``InvalidKeySet`` if it is unsound."""
        jwk = {"kid": self.kid, **(self.model_extra or {})}
        return read_key_set({"keys": [jwk]})[self.kid]


class CertificateKeys(BaseModel):
    """All keys that a source has ever had, and who the source is."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    source: UUID = Field(description="who the source is: made by its first migration")
    keys: list[CertificateKey]

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Read an export.

        Raises:
            ValueError: it is not one, or a key is unsound.
        """
        try:
            found = cls.model_validate_json(content)
        except ValidationError:
            raise ValueError("not an export of keys (auth-service keys export)") from None
        for key in found.keys:
            key.public_key()
        return found
