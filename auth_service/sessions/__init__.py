"""Sessions: one for each sign-in, with the family of refresh tokens that descends from it.

``sign_in`` finds the user behind credentials, ``start`` begins a session, ``refresh`` goes on with
it, ``end`` ends it, for any reason. ``bearer`` leads from a request's access token to its user.
``model`` and ``refresh_token`` are pure.
"""
