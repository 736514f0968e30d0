"""Make the program of a service: the group of all its commands.

Guarantees: ``-h`` and ``--help`` work at every level, ``--version`` prints the version of this
release, and shells can complete commands and options (``--install-completion``).
"""

from typing import Annotated

import typer

from service_kit.process.version import VERSION


def program(description: str | None, context: object = None) -> typer.Typer:
    """Make a group without commands, which the caller adds.

    Parameters:
        description: the first line of the help.
        context: what each command gets as its context's object.
    """
    app = typer.Typer(
        no_args_is_help=True,
        help=description,
        context_settings={"help_option_names": ["-h", "--help"], "obj": context},
    )
    app.callback()(_options)
    return app


def _show_version(is_asked_for: bool) -> None:
    if is_asked_for:
        print(f"usersync {VERSION}")
        raise typer.Exit


def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    """Take the options of the program itself."""
