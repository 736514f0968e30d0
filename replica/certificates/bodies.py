"""A certificate as operators see it, over HTTP and with ``proofs list --json``."""

from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, Field
from sqlalchemy import Row

from contracts.sync.certificate import Certificate, Signed


class CertificateBody(BaseModel):
    """A certificate: what it says, and the signed text."""

    id: int
    hash: str = Field(description="the name that later ones have for it; the source logged it")
    key_id: str = Field(description="the source's key that signed it")
    stored_at: datetime = Field(description="by the replica's clock")
    says: Certificate | None = Field(description="null if it cannot be read: it was altered")
    certificate: str = Field(description="a JWS in compact form")

    @classmethod
    def of(cls, row: Row[Any]) -> Self:
        """Show a row of the table."""
        try:
            says = Signed.read(row.certificate).certificate
        except ValueError:
            says = None
        own = {name: getattr(row, name) for name in ("id", "hash", "key_id", "stored_at")}
        return cls(**own, says=says, certificate=row.certificate)
