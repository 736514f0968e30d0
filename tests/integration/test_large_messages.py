"""Bodies too large for an event take no memory, and are parked without the body."""

from pathlib import Path

from aiormq.channel import Channel
from pamqp.commands import Basic

from blog_service.replica_of_users import USERS
from contracts.events.envelope import BODY_BYTES_MAX, encode
from replica.inbox.subscription import KEPT_BYTES_MAX, LARGE_BYTES_MAX, Subscription
from replica.parked.read import parked_message
from replica.parked.redrive import redrive
from tests.support.builders import a_state, a_tombstone, an_event
from tests.support.database_sessions import reading
from tests.support.eventually import eventually
from tests.support.inbox import Inbox, is_at, parked
from tests.support.processes import Process
from tests.support.source import Source
from tests.support.system import consumer_process

MIB = 1024 * 1024
HUGE = bytes(100 * MIB)


async def test_a_huge_message_costs_no_memory(inbox: Inbox, tmp_path: Path) -> None:
    event = an_event(a_state())
    urls = inbox.settings.database_url, inbox.settings.amqp_url
    async with consumer_process(*urls, tmp_path) as process:
        await process.ready()
        before = _peak_bytes(process)
        await inbox.source.publish_raw(HUGE, encode(event).properties)
        await inbox.source.publish(an_event(a_state()))
        await inbox.has_applied(1)
        await inbox.has_parked(1)
        peak = _peak_bytes(process)
        assert await process.stop() == 0

    [row] = await parked(inbox.engine)
    assert (row.reason, row.body, row.dropped_bytes) == ("too_large", None, len(HUGE))
    assert row.user_id == event.data.subject
    assert peak - before < 64 * MIB, f"{(peak - before) / MIB:.0f} MiB"


async def test_many_large_messages_are_held_up_to_a_limit(inbox: Inbox) -> None:
    """Each is small enough alone; a deletion among them counts only by its headers."""
    await inbox.declare()
    gone = a_tombstone()
    deletion = encode(an_event(gone)).properties
    for number in range(8):
        await inbox.source.publish_raw(b"%d" % number + bytes(KEPT_BYTES_MAX), routing_key="user.x")
    await inbox.source.publish_raw(bytes(KEPT_BYTES_MAX + 1), deletion, routing_key="user.deleted")

    async with inbox.consuming():
        await inbox.has_parked(8)
        await eventually(lambda: is_at(inbox.engine, gone.id, gone.version))

    rows = await parked(inbox.engine)
    assert {row.dropped_bytes for row in rows} == {KEPT_BYTES_MAX + 1}
    assert len({row.message_hash for row in rows}) == 8


async def test_which_messages_a_subscription_holds(source: Source) -> None:
    """Events always; larger bodies while there is room, which settling them frees again."""
    channel = source.channel
    assert isinstance(channel, Channel)
    subscription = Subscription(channel, [])

    room = LARGE_BYTES_MAX // KEPT_BYTES_MAX
    taken = [subscription.takes(KEPT_BYTES_MAX) for _ in range(room + 1)]

    assert taken == [True] * room + [False]
    assert subscription.takes(BODY_BYTES_MAX)
    assert not subscription.takes(BODY_BYTES_MAX + 1)
    assert not Subscription(channel, []).takes(KEPT_BYTES_MAX + 1)


async def test_a_message_parked_without_its_body_says_so(inbox: Inbox) -> None:
    """It does not look like one whose user was deleted, and stays too large when redriven."""
    async with inbox.consuming():
        await inbox.source.publish_raw(bytes(2 * MIB), Basic.Properties(delivery_mode=2))
        await inbox.source.publish_raw(bytes(2 * MIB), encode(an_event(a_state())).properties)
        await inbox.has_parked(2)

    for row in await parked(inbox.engine):
        shown = await reading(inbox.engine, parked_message, row.id)
        redriven = await redrive(USERS, inbox.engine, row.id)
        assert (shown.erased, shown.body, shown.body_bytes) == (False, None, 2 * MIB)
        assert redriven.failure
        assert redriven.failure.reason == "too_large"


def _peak_bytes(process: Process) -> int:
    assert process._process is not None
    status = Path(f"/proc/{process._process.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024
