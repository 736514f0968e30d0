"""Service accounts of the source that changed: whether their access tokens count, on every request.

``keep`` alone writes the table; ``caller`` asks it together with the user's row.
"""
