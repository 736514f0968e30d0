"""What services agree on, and no more: events, tokens, and how a copy of the users is proven.

``events``: the models, how a message carries them, and the names on the broker. ``tokens``: access
tokens, the keys that sign them, and the verifier. ``sync``: which state of a user wins, digests,
and what a comparison or a replay says on the wire.

Imports no web framework, server, database driver, and none of our other packages. A service that
only verifies tokens needs ``contracts.tokens``. A service that keeps a copy of the users takes
``replica``, which is built on this. ``docs/add-a-service.md`` leads through both.
"""
