"""Profiles that users write about themselves, and authors as readers see them."""
