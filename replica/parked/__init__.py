"""Parked messages for operators: list, show, redrive and discard them."""
