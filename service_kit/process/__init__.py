"""How our processes start, read settings, log, talk to a terminal, and end."""
