"""Read the form of an OAuth request strictly: bounded, one meaning, each parameter once.

What a proxy, a log or another parser took for another value must not get through (RFC 6749 3.2 and
Appendix B). Pure.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

MEDIA_TYPE: Final = "application/x-www-form-urlencoded"

FORM_BYTES_MAX: Final = 16 * 1024
"""A token of 8 KiB, the longest that is verified, and room for the rest."""

PARAMETERS_MAX: Final = 16
"""No request that these endpoints know has more than six."""

_ENCODED = re.compile(rb"(?:[\x21-\x24\x26-\x7E]|%[0-9A-Fa-f]{2})*")


class BadForm(ValueError):
    """Not a form, or not one that can be read in one way only; the message repeats nothing."""


def read_form(body: bytes) -> dict[str, str]:
    """The parameters in ``body``; one without a value counts as not sent (RFC 6749 3.2).

    Raises:
        BadForm: too long, badly encoded, or with a parameter twice.
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
    """What ``text``, encoded as a form encodes it, stands for; raises ``BadForm``."""
    if not _ENCODED.fullmatch(text):
        raise BadForm("the form is badly encoded")
    try:
        return unquote_to_bytes(text.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError:
        raise BadForm("the form holds what is no UTF-8") from None
