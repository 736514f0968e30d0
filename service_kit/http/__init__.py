"""How our processes serve HTTP: the server, its limits, errors, bodies and metrics."""
