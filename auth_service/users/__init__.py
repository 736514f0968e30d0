"""The users: what one is, their tables and every statement that writes them, and their passwords.

``transaction`` locks and changes a row, with the next version and the event; ``claim_address`` and
``former_emails`` guard e-mail addresses; ``passwords`` and ``password_policy`` judge and hash.

Not here: what is done with users (``accounts``, ``sessions``).
"""
