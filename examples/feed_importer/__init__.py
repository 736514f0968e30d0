"""Keep the posts of an author in step with an RSS or Atom feed."""
