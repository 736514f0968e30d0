"""Mails with single-use links: asked for in a transaction, sent from a queue, opened once."""
