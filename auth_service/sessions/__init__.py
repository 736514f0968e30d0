"""Sessions: one for each sign-in, with the family of refresh tokens that descends from it.

``sign_in`` checks credentials, ``start`` starts a session, ``refresh`` continues it, ``end`` ends
it for any reason. ``bearer`` resolves a request's access token to its user. ``model`` and
``refresh_token`` are pure.
"""
