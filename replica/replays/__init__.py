"""Replays to this service: asked for at the source, which sends them."""
