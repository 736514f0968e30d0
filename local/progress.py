"""Telling a person what is going on.

Guarantees: standard error only, so that standard output stays what was asked for; plain lines when
it is not a terminal.
"""

import typer


def say(line: str) -> None:
    """One line of progress."""
    typer.secho(line, err=True, dim=True)
