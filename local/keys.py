"""The key pair that signs access tokens on this machine.

Guarantees: created once, so tokens survive a restart; only the owner can read the private half.
"""

import os

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from local.paths import LOCAL

PRIVATE_KEY = LOCAL / "keys" / "private.pem"
PUBLIC_KEY = LOCAL / "keys" / "public.pem"

_BITS = 3072  # as strong as 128 bits, like all other secrets here
_EXPONENT = 65537  # the usual one


def ensure_keys() -> None:
    """Create the pair if it is missing; derive the public half from the private one."""
    PRIVATE_KEY.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not PRIVATE_KEY.exists():
        _write_private(_new_private_key())
    private = load_pem_private_key(PRIVATE_KEY.read_bytes(), password=None)
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    PUBLIC_KEY.write_bytes(public)


def _new_private_key() -> bytes:
    key = rsa.generate_private_key(public_exponent=_EXPONENT, key_size=_BITS)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write_private(pem: bytes) -> None:
    # Atomically: half a key would stop every later start.
    unfinished = PRIVATE_KEY.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
    unfinished.rename(PRIVATE_KEY)
