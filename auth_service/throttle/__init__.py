"""Rate limits, shared by all instances of the API through PostgreSQL.

``throttle`` spends from rates, ``sign_in_attempts`` delays guesses of passwords, ``network`` is the
unit of limits by address. ``model`` is pure. The limits are settings (``AUTH_LIMIT_…``).
"""
