"""The OAuth 2.0 endpoints: issue, introspect and revoke tokens of services and sessions.

``client`` authenticates a service, ``grants`` issues tokens, ``introspect`` and ``revoke`` do as
they say, ``metadata`` describes the server. ``form`` parses requests strictly, and is pure.
"""
