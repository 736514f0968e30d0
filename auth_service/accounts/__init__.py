"""Step 1 of 6: the use cases of user accounts, their routes and their commands.

Each use case is one file: it locks the user's row, changes it (``users.transaction``), and commits
that together with the event, the audit entry, and the sessions, mails and links that it affects.

Not here: the users themselves (``users``), signing in and out (``sessions``).
"""
