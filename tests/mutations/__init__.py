"""Show that the tests notice a missing defence: take each one out, and run its tests."""
