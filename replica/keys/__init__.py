"""Signing keys of the source that were revoked: their tokens are refused on every request.

``revoke`` alone writes the table; ``caller`` asks it together with the user's row.
"""
