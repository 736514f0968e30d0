"""The blog's table of users, which ``replica`` writes, and the locks that the blog takes on it."""
