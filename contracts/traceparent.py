"""Read a ``traceparent``: the trace and the step that led here, by W3C Trace Context. Pure.

Only version 00 is read, which all senders write.
"""

import re
from typing import Final

_FORM: Final = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

_ODD: Final = "13579bdf"
"""Last digits of flags whose last bit is set, which says that the trace is recorded."""


def trace_id(traceparent: object) -> str | None:
    """Return the id of the trace, 32 hexadecimal digits; None if this is not a ``traceparent``."""
    found = _FORM.fullmatch(traceparent) if isinstance(traceparent, str) else None
    return found[1] if found else None


def is_sampled(traceparent: str) -> bool:
    """Tell whether the trace is recorded; False for what is not a ``traceparent``.

    If it is not, a look at the last digit is all that it costs.
    """
    return traceparent[-1:] in _ODD and _FORM.fullmatch(traceparent) is not None
