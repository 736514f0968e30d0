"""Decode malformed AMQP values that the client library rejects.

pamqp raises for text that is not UTF-8 and for times outside Python's range. The connection then
ends before our code sees the message, and the broker redelivers it on the next connection, without
end. Decoded leniently, the message reaches ``decode`` and is parked like any unreadable one.

Guarantees: values that pamqp can decode are decoded by pamqp.
"""

import struct
from datetime import datetime
from typing import Any

from pamqp import decode


def read_amqp_leniently() -> None:
    """Make pamqp lenient in this process. Idempotent."""
    decode.METHODS |= {"shortstr": _short_str, "timestamp": _timestamp, "table": _headers}
    decode.TABLE_MAPPING |= {b"T": _timestamp, b"F": _table}


def _short_str(value: bytes) -> tuple[int, str]:
    r"""Decode text; bytes that are not UTF-8 become ``\xff``."""
    length = value[0] + 1
    return length, value[1:length].decode("utf-8", errors="backslashreplace")


def _timestamp(value: bytes) -> tuple[int, datetime | int]:
    """Decode a time; one after the year 9999 becomes a number."""
    try:
        return decode.timestamp(value)
    except (ValueError, OverflowError, OSError):
        return 8, int.from_bytes(value[:8], "big")


def _headers(value: bytes) -> tuple[int, dict[str, Any]]:
    """Decode the header table; one that cannot be decoded, e.g. nested too deep, becomes empty."""
    try:
        return _table(value)
    except (ValueError, TypeError, IndexError, struct.error, RecursionError):
        return _end(value), {}


def _table(value: bytes) -> tuple[int, dict[str, Any]]:
    """Decode a table, whose names may be any bytes."""
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
