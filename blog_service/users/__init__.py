"""Step 6 of 6: the replica, this service's own copy of the users it needs.

``model`` decides which of two states wins, ``replica`` alone writes the table, ``caller`` asks it
about every request.
"""
