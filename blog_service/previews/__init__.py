"""Previews: what a text would look like, before it is written."""
