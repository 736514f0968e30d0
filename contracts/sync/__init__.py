"""Prove a copy: which state of a user wins, digests, comparisons and replays on the wire."""
