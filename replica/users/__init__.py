"""The replica's users, as administrators see them."""
