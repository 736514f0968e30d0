"""Say what was done with messages, for their spans."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
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
) -> Mapping[Step, Sequence[tuple[str, UUID]]]:
    """Say what was done with which messages of ``batch``, as far as their trace is sampled.

    A message that cannot be read has no span; the log names its trace.

    Parameters:
        batch: the messages.
        read: their events, as far as they were read ahead.
        outcomes: of each.
        server: the broker.

    Returns:
        The ``traceparent`` and the event's id of the messages of each step.
    """
    found: defaultdict[tuple[str, str, str, Outcome], list[tuple[str, UUID]]] = defaultdict(list)
    for delivery, ahead, outcome in zip(batch, read, outcomes, strict=True):
        event = ahead or event_of(delivery)
        if event is not None and event.traceparent and is_sampled(event.traceparent):
            like = delivery.exchange, event.type, delivery.queue, outcome
            found[like].append((event.traceparent, event.id))
    return {
        step("process", *names, outcome, outcome is Outcome.PARKED, server): messages
        for (*names, outcome), messages in found.items()
    }
