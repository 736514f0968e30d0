"""Read base64url (RFC 7515 2) and JSON strictly; write base64url.

Guarantees: each value has exactly one accepted form. Any other form raises ``ValueError`` and
nothing else. Callers limit the size first.
"""

import base64
import json
import re
from typing import Any, Final

_ALPHABET = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)

_LAST: Final = {0: "", 2: "AQgw", 3: "AEIMQUYcgkosw048"}
"""By the length's remainder of 4, the last characters whose unused bits are zero."""


def base64url_bytes(text: str) -> bytes:
    """Decode ``text`` to at least one byte.

    Padding, white space and unused bits that are set are refused: with them, others could change
    the text of a token without changing its meaning.

    Raises:
        ValueError: the text is not strict base64url.
    """
    last = _LAST.get(len(text) % 4)
    if last is None or (last and text[-1] not in last) or not _ALPHABET.fullmatch(text):
        raise ValueError("invalid base64url")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def base64url_text(octets: bytes) -> str:
    """Encode ``octets`` without padding."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def json_object(encoded: bytes) -> dict[str, Any]:
    """Decode a JSON object: UTF-8 only, no duplicate names, no constants that JSON lacks.

    Raises:
        ValueError: the bytes are anything else.
    """
    try:
        value = json.loads(
            encoded.decode("utf-8"),
            object_pairs_hook=_without_duplicates,
            parse_constant=_no_constant,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("duplicate name")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not valid JSON")
