"""Read AMQP values that the client library gives up on.

pamqp raises for text that is not UTF-8 and for times that Python has no date for. The connection
ends then, before any code of ours has seen the message, which comes again on the next one, for
ever. Read leniently, such a message reaches ``decode``, and is parked like all that is unreadable.

Guarantees: what pamqp can read is read by pamqp.
"""

import struct
from datetime import datetime
from typing import Any

from pamqp import decode


def read_amqp_leniently() -> None:
    """Make this process's pamqp lenient; repeating it changes nothing."""
    decode.METHODS |= {"shortstr": _short_str, "timestamp": _timestamp, "table": _headers}
    decode.TABLE_MAPPING |= {b"T": _timestamp, b"F": _table}


def _short_str(value: bytes) -> tuple[int, str]:
    r"""Text; what is not UTF-8 in it shows as ``\xff``."""
    length = value[0] + 1
    return length, value[1:length].decode("utf-8", errors="backslashreplace")


def _timestamp(value: bytes) -> tuple[int, datetime | int]:
    """A time, or the bare number where it is further away than the year 9999."""
    try:
        return decode.timestamp(value)
    except (ValueError, OverflowError, OSError):
        return 8, int.from_bytes(value[:8], "big")


def _headers(value: bytes) -> tuple[int, dict[str, Any]]:
    """The header table, empty when there is no reading it, such as one that is nested too deep."""
    try:
        return _table(value)
    except (ValueError, TypeError, IndexError, struct.error, RecursionError):
        return _end(value), {}


def _table(value: bytes) -> tuple[int, dict[str, Any]]:
    """A table, whose names may be any bytes."""
    try:
        return decode.field_table(value)
    except UnicodeDecodeError:
        return _table_of_odd_names(value)


def _table_of_odd_names(value: bytes) -> tuple[int, dict[str, Any]]:
    end, offset = _end(value), 4
    table = {}
    while offset < end:
        length, name = _short_str(value[offset:])
        offset += length
        consumed, member = decode.embedded_value(value[offset:])
        offset += consumed
        table[name] = member
    return end, table


def _end(table: bytes) -> int:
    return 4 + int.from_bytes(table[:4], "big")
