"""The public name of ``contracts.events.envelope``, for programs that read or write messages."""

from contracts.events.envelope import decode, encode

__all__ = ["decode", "encode"]
