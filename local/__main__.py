"""The commands behind `make`: `python -m local --help` lists them.

Guarantees: commands that use servers refuse a shell with the settings of another checkout; a
failure is one sentence on standard error and exit code 1; `env` writes only exports to standard
output.

Each command imports only what it needs, because the drivers of both servers take a second.
"""

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from local.addresses import Addresses
from local.environment import refuse_others_exports
from local.errors import LocalError

AsJson = Annotated[bool, typer.Option("--json", help="JSON, for scripts: one object a line.")]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command()
def up() -> None:
    """Start what is not running, wait until it is ready, print the addresses."""
    from local import system

    refuse_others_exports()
    found = system.up()
    urls = found.urls()
    for name, url in urls.items():
        print(f"{name}={url}")
    print()
    for name, state in system.servers(found).items():
        print(f"{name}: {state}")
    print(f"\nThe blog, for a browser: {urls['BLOG_URL']}/")


@app.command()
def down() -> None:
    """Stop the processes and servers that were started here; keep the data."""
    from local import system

    system.down()


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show processes and both ends of the pipe; exit code 1 if one is down or broken."""
    from local.status import status as show

    refuse_others_exports()
    if not show(as_json=as_json):
        raise LocalError("Not everything works, see above. Run make up to start what is down.")


@app.command()
def logs() -> None:
    """Show the end of all logs, and follow them on a terminal."""
    from local import system

    system.logs()


@app.command()
def env() -> None:
    """Print the settings and addresses as shell exports."""
    print(Addresses.current().exports())


@app.command()
def demo(
    as_json: AsJson = False,
    record: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write an animated picture (SVG).")
    ] = None,
) -> None:
    """Show how users reach the blog, what breaks on the way, and how it heals."""
    from local.demo.run import run

    refuse_others_exports()
    run(as_json=as_json, record=record)


@app.command()
def faults() -> None:
    """Serve the faults of the console's page "Break it"; `make up` runs this."""
    from local.faults.serve import serve_faults

    serve_faults()


@app.command()
def service(name: str) -> None:
    """Create a broker account and a database for a service of your own; print shell exports."""
    from local.new_service import exports

    refuse_others_exports()
    print(exports(name))


@app.command()
def servers() -> None:
    """Install PostgreSQL and RabbitMQ, so that the first start needs no network."""
    from local import postgres, rabbitmq

    refuse_others_exports()
    postgres.install_postgres()
    rabbitmq.install_broker()


@app.command()
def browser() -> None:
    """Install Chromium, for the tests of the pages."""
    from local.chromium import install_chromium

    install_chromium()


def main() -> None:
    """Run a command; turn an error into one sentence."""
    # Libraries log failed attempts; our own sentence has what matters.
    logging.disable()
    try:
        app()
    except (LocalError, OSError) as error:
        typer.secho(f"{error}", err=True, fg=typer.colors.RED)
        sys.exit(1)


if __name__ == "__main__":
    main()
