"""Keep account of what the broker says about the messages published on one channel. Pure.

Guarantees: a tag has one outcome, the first that the broker gave it, in any order of single and
``multiple`` confirms. Memory does not grow with the messages that were confirmed.
"""

from collections.abc import Iterable

from pamqp.header import ContentHeader

from service_kit.broker.frames import BODY, HEADER


class Confirms:
    """The tags that were used so far, and which of them the broker has confirmed or refused."""

    def __init__(self) -> None:
        self.next_tag = 1
        self._low = 1  # all tags below are answered
        self._ahead: set[int] = set()  # answered tags that are not below
        self._nacked: set[int] = set()

    def sent(self, count: int) -> None:
        """Note that the next ``count`` messages were handed to the connection."""
        self.next_tag += count

    def answered(self, tag: int, *, multiple: bool, nack: bool) -> None:
        """Note a confirm or refusal; an unknown tag changes nothing.

        ``multiple`` includes all earlier tags; with tag 0 it means all that were sent.
        """
        if multiple:
            tag = min(tag or self.next_tag - 1, self.next_tag - 1)
            if tag < self._low:
                return
            if nack:
                self._nacked.update(set(range(self._low, tag + 1)) - self._ahead)
            self._low = tag + 1
            self._ahead = {each for each in self._ahead if each > tag}
        elif self._low <= tag < self.next_tag and tag not in self._ahead:
            if nack:
                self._nacked.add(tag)
            self._ahead.add(tag)
        while self._low in self._ahead:
            self._ahead.discard(self._low)
            self._low += 1

    def is_answered(self, tag: int) -> bool:
        """Return whether the broker has confirmed or refused the message with this tag."""
        return tag < self._low or tag in self._ahead

    def are_answered(self, tag: int) -> bool:
        """Return whether this is so for all tags up to this one."""
        return tag < self._low

    def is_nacked(self, tag: int) -> bool:
        """Return whether the broker has refused the message with this tag."""
        return tag in self._nacked

    def forget(self, tags: Iterable[int]) -> None:
        """Forget whether these were refused; other publishes may still ask about the others."""
        self._nacked.difference_update(tags)

    def forget_all(self) -> None:
        """Forget all refusals: nobody asks about them any more."""
        self._nacked.clear()


class Returns:
    """Reads returned messages, and remembers their ids."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.is_in_one = False
        self._missing: int | None = None  # bytes of its body, known from the header

    def begin(self) -> None:
        """Read the beginning of one."""
        self.is_in_one = True
        self._missing = None

    def read(self, kind: int, payload: bytes) -> None:
        """Read the header, or a part of the body.

        Raises:
            ValueError: the frame is out of place.
        """
        if kind != (HEADER if self._missing is None else BODY):
            raise ValueError("a frame out of place in a returned message")
        if self._missing is None:
            header = ContentHeader()
            header.unmarshal(payload)
            self.ids.add(header.properties.message_id or "")
            self._missing = header.body_size or 0
        else:
            self._missing -= len(payload)
        self.is_in_one = self._missing > 0
