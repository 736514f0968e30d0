"""PostgreSQL for every service: engines, sessions, locks, and what its errors mean; knows no HTTP.

``engines`` makes every connection; no other module of the services makes an engine.
"""
