"""PostgreSQL as both services use it: engines, what each session sets, and when one is thrown away.

Every connection is made by ``engines``; no other module makes an engine.
"""
