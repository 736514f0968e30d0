"""Step 1 of 6: users and the use cases that change them.

Each use case is one file: it locks the user's row, gives it the next version, and records the
event, all in one transaction that it commits itself. ``model`` is pure.
"""
