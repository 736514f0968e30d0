"""Signing access tokens, and publishing the key by which others verify them."""
