"""Serve HTTP: the server, its limits, problems, bodies, pages and metrics; knows no broker."""
