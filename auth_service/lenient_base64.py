"""Decode base64 as other systems write it: of either alphabet, with or without padding. Pure."""

import base64

_TO_STANDARD = str.maketrans("-_", "+/")


def decode(text: str) -> bytes:
    """Decode ``text``.

    Raises:
        ValueError: it is not base64.
    """
    bare = text.rstrip("=").translate(_TO_STANDARD)
    return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)


def encode(octets: bytes) -> str:
    """Encode ``octets`` with the standard alphabet and without padding, as in stored hashes."""
    return base64.b64encode(octets).rstrip(b"=").decode()
