"""The blog: posts, comments and profiles, on top of ``replica``, its proven copy of the users.

Requests are served from this copy alone; the blog never calls the auth service for them, except
for replays, which operators request through the blog.
"""
