"""Synchronise an author's posts with an RSS or Atom feed."""
