"""Say what was done with messages, for their spans."""

from collections.abc import Iterator, Sequence
from uuid import UUID

from contracts.events import Event
from contracts.sync.merge import Outcome
from contracts.traceparent import is_sampled
from replica.inbox.waiting import event_of
from service_kit.broker.delivery import Delivery
from service_kit.broker.tracing import Server, step
from service_kit.process.tracing.steps import Step


def sampled_steps(
    batch: Sequence[Delivery],
    read: Sequence[Event | None],
    outcomes: Sequence[Outcome],
    server: Server | None,
) -> Iterator[tuple[Step, str, UUID]]:
    """Say what was done with the messages of ``batch`` whose trace is sampled.

    A message that cannot be read has no span; the log names its trace.

    Parameters:
        batch: the messages.
        read: their events, as far as they were read ahead.
        outcomes: of each.
        server: the broker.
    """
    for delivery, ahead, outcome in zip(batch, read, outcomes, strict=True):
        event = ahead or event_of(delivery)
        if event is not None and event.traceparent and is_sampled(event.traceparent):
            come_from = (delivery.exchange, event.type, delivery.queue)
            processed = step("process", *come_from, outcome, outcome is Outcome.PARKED, server)
            yield processed, event.traceparent, event.id
