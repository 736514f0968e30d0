"""base64url (RFC 7515 2) and JSON, read strictly: one spelling, one meaning; and base64url written.

Guarantees: whatever is not exactly in the form raises ``ValueError`` and nothing else; the text has
to be of bounded size already.
"""

import base64
import json
import re
from typing import Any, Final

_ALPHABET = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)

_LAST: Final = {0: "", 2: "AQgw", 3: "AEIMQUYcgkosw048"}
"""By the length's remainder of 4, the last characters whose unused bits are zero."""


def base64url_bytes(text: str) -> bytes:
    """The bytes that ``text`` stands for, at least one.

    Without padding, white space or unused bits that are set: others could otherwise change the
    text, and with it a token, without changing what it says.
    """
    last = _LAST.get(len(text) % 4)
    if last is None or (last and text[-1] not in last) or not _ALPHABET.fullmatch(text):
        raise ValueError("no base64url")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def base64url_text(octets: bytes) -> str:
    """The text that stands for ``octets``, without padding."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def json_object(encoded: bytes) -> dict[str, Any]:
    """The JSON object in ``encoded``: UTF-8 alone, no name twice, no constants that JSON lacks."""
    try:
        value = json.loads(
            encoded.decode("utf-8"),
            object_pairs_hook=_without_duplicates,
            parse_constant=_no_constant,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name stands twice")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
