"""Parse the form of an OAuth request strictly: bounded, unambiguous, each parameter once. Pure.

A form that a proxy, a log or another parser could read differently is refused (RFC 6749 3.2 and
Appendix B).
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

MEDIA_TYPE: Final = "application/x-www-form-urlencoded"

FORM_BYTES_MAX: Final = 16 * 1024
"""The longest token that is verified has 8 KiB; the rest is room for other parameters."""

PARAMETERS_MAX: Final = 16
"""Requests to these endpoints have at most six."""

_ENCODED = re.compile(rb"(?:[\x21-\x24\x26-\x7E]|%[0-9A-Fa-f]{2})*")


class BadForm(ValueError):
    """Not a form, or an ambiguous one; the message repeats none of it."""


def read_form(body: bytes) -> dict[str, str]:
    """Parse the parameters in ``body``; one without a value counts as missing (RFC 6749 3.2).

    Raises:
        BadForm: the form is too long, badly encoded, or has a parameter twice.
    """
    if len(body) > FORM_BYTES_MAX:
        raise BadForm(f"the form has more than {FORM_BYTES_MAX} bytes")
    pairs = body.split(b"&", PARAMETERS_MAX) if body else []
    if len(pairs) > PARAMETERS_MAX:
        raise BadForm(f"the form has more than {PARAMETERS_MAX} parameters")
    form: dict[str, str] = {}
    for pair in pairs:
        name, _, value = pair.partition(b"=")
        if (parameter := decoded(name)) in form:
            raise BadForm("a parameter is sent twice")
        form[parameter] = decoded(value)
    return {parameter: value for parameter, value in form.items() if value}


def decoded(text: bytes) -> str:
    """Decode ``text``, which is encoded as in a form; raises ``BadForm``."""
    if not _ENCODED.fullmatch(text):
        raise BadForm("the form is badly encoded")
    try:
        return unquote_to_bytes(text.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError:
        raise BadForm("the form is not valid UTF-8") from None
