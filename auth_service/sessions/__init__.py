"""From credentials to a token (``sign_in``), and from a token to its user (``bearer``)."""
