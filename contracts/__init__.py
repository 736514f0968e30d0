"""What services agree on, and no more: events, tokens, and how a copy of the users is proven.

``events``: their models, how a message carries them, and the names on the broker. ``tokens``:
access tokens, the keys that sign them, and the verifier. ``sync``: which state of a user wins,
digests of many, and what a comparison says on the wire.

Nothing here imports a web framework, a server, a database driver, or any of our other packages. A
service that only verifies tokens needs ``contracts.tokens``; one that keeps a copy of the users
takes ``replica``, which is built on this. ``docs/add-a-service.md`` leads through both.
"""
