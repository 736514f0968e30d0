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


def forged(old: bytes, new: bytes, **values: Any) -> Basic.Properties:
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


NAME = b"odd-name", b"odd-\xff\xfe\x00e"
TIME = FAR_AWAY_BYTES, b"\x7f" + b"\xff" * 7

ODD = {
    "headers nested too deep": Nested(),
    "a name of a header that is not UTF-8": forged(*NAME, headers={"odd-name": "x"}),
    "a name inside of a header": forged(*NAME, headers={"table": {"odd-name": 1}}),
    "a property that is not UTF-8": forged(*NAME, message_id="odd-name"),
    "a timestamp after the year 9999": forged(*TIME, timestamp=FAR_AWAY),
    "a time in a header after the year 9999": forged(*TIME, headers={"when": FAR_AWAY}),
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
