"""PostgreSQL as both services use it: engines, what each session sets, and when one is thrown away.

Whoever connects does it by ``engines``; no other module makes an engine.
"""
