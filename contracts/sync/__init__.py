"""How a copy is proven: which state of a user wins, digests, and a comparison on the wire."""
