"""Print progress for a person.

Guarantees: on standard error only, so standard output has only the result; plain lines unless
standard error is a terminal.
"""

import typer


def say(line: str) -> None:
    """Print one line of progress."""
    typer.secho(line, err=True, dim=True)
