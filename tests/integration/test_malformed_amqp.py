"""Test that messages the client library cannot decode are parked and do not block the queue."""

from datetime import UTC, datetime
from typing import Any

from pamqp.commands import Basic

from tests.support.builders import a_state, an_event
from tests.support.inbox import Inbox, parked

FAR_AWAY = datetime(2100, 1, 1, tzinfo=UTC)
FAR_AWAY_BYTES = int(FAR_AWAY.timestamp()).to_bytes(8, "big")


class Forged(Basic.Properties):
    """Properties whose encoding differs from what the library encodes."""

    replacement: tuple[bytes, bytes] = (b"", b"")

    def marshal(self) -> bytes:
        return super().marshal().replace(*self.replacement)


def forged(good: Basic.Properties, old: bytes, new: bytes) -> Basic.Properties:
    values: dict[str, Any] = {name: value for name, value in good if value is not None}
    properties = Forged(**values)
    properties.replacement = (old, new)
    return properties


class Nested(Basic.Properties):
    """Headers nested deeper than the library's encoder supports."""

    def marshal(self) -> bytes:
        table = b""
        for _ in range(600):
            table = b"\x01tF" + len(table).to_bytes(4, "big") + table
        return b"\x20\x00" + len(table).to_bytes(4, "big") + table


ODD = {
    "headers nested too deep": Nested(),
    "a name of a header that is not UTF-8": forged(
        Basic.Properties(headers={"odd-name": "x"}), b"odd-name", b"odd-\xff\xfe\x00e"
    ),
    "a name inside of a header": forged(
        Basic.Properties(headers={"table": {"odd-name": 1}}), b"odd-name", b"odd-\xff\xfe\x00e"
    ),
    "a property that is not UTF-8": forged(
        Basic.Properties(message_id="odd-text"), b"odd-text", b"odd-\xff\xfe\x00t"
    ),
    "a timestamp after the year 9999": forged(
        Basic.Properties(timestamp=FAR_AWAY), FAR_AWAY_BYTES, b"\x7f" + b"\xff" * 7
    ),
    "a time in a header after the year 9999": forged(
        Basic.Properties(headers={"when": FAR_AWAY}), FAR_AWAY_BYTES, b"\x7f" + b"\xff" * 7
    ),
}


async def test_a_message_the_library_cannot_decode_is_parked(inbox: Inbox) -> None:
    async with inbox.consuming():
        for number, (name, properties) in enumerate(ODD.items(), start=1):
            await inbox.source.publish_raw(name.encode(), properties)
            await inbox.source.publish(an_event(a_state()))
            await inbox.has_applied(number)
            await inbox.has_parked(number)
    rows = await parked(inbox.engine)
    expected = [("not_a_cloud_event", name.encode()) for name in ODD]
    assert [(row.reason, row.body) for row in rows] == expected
