"""The commands ``settings …``: find misspelt settings, and show those in force.

What settings are made of is imported when a command runs, so that help comes at once.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service_kit.process.errors import OperatorError
from service_kit.process.load import load
from service_kit.process.terminal import AsJson, failing_with_a_sentence

if TYPE_CHECKING:
    from service_kit.process.settings import ServiceSettings


def setting_commands(
    settings: "Callable[[], type[ServiceSettings]]",
    processes: "Mapping[str, Callable[[], type[ServiceSettings]]]",
) -> typer.Typer:
    """Make the commands ``settings …`` of a service.

    Parameters:
        settings: imports and returns any settings of the service.
        processes: imports and returns the settings of each process, by its command.
    """
    app = typer.Typer(no_args_is_help=True, help="Check and show the settings.")
    app.command("check", epilog="Example: settings check .env docker-compose.yml")(
        failing_with_a_sentence(_check(settings))
    )
    first = next(iter(processes))
    app.command("show", epilog=f"Example: settings show {first}")(
        failing_with_a_sentence(_show(processes))
    )
    return app


def _show(
    processes: "Mapping[str, Callable[[], type[ServiceSettings]]]",
) -> Callable[[str, bool], None]:
    names = "|".join(processes)

    def show(
        process: Annotated[
            str, typer.Argument(metavar=names, autocompletion=lambda: list(processes))
        ],
        as_json: AsJson = False,
    ) -> None:
        """Show the settings that a process would start with here, and where each comes from.

        Secrets and passwords are masked.
        """
        import dataclasses
        import json

        from service_kit.process.settings_in_force import settings_in_force

        if process not in processes:
            raise typer.BadParameter(f"use {names}")
        found = settings_in_force(load(processes[process]()))
        if as_json:
            print(json.dumps({"items": [dataclasses.asdict(each) for each in found]}))
            return
        for each in found:
            value = "-" if each.value is None else each.value.replace("\n", " ")
            print(f"{each.name}={value}  ({each.origin})")

    return show


def _check(
    settings: "Callable[[], type[ServiceSettings]]",
) -> Callable[[list[Path] | None], None]:
    def check(
        files: Annotated[
            list[Path] | None, typer.Argument(metavar="FILE…", show_default=False)
        ] = None,
    ) -> None:
        """Name each unknown setting; exit 1 if there is one.

        Looks at the environment and at .env in this folder or, if files are named, at these:
        .env, Compose, Kubernetes or systemd files.
        """
        known = settings()
        lines = list(_unknown_in_files(files, known)) if files else list(_unknown_here(known))
        if lines:
            raise OperatorError("\n".join(lines))
        print("no unknown setting")

    return check


def _unknown_here(settings: "type[ServiceSettings]") -> Iterator[str]:
    from service_kit.process.setting_names import unknown
    from service_kit.process.settings import given_variables

    for name, nearest in unknown(given_variables(settings).items(), settings).items():
        yield _sentence(name, nearest)


def _unknown_in_files(files: list[Path], settings: "type[ServiceSettings]") -> Iterator[str]:
    from service_kit.process.setting_names import unknown, written_in

    for file in files:
        try:
            text = file.read_text("utf-8-sig")
        except OSError as error:
            raise OperatorError(f"{file}: cannot be read ({error.strerror})") from None
        except UnicodeError:
            raise OperatorError(f"{file}: is no UTF-8 text; save it as UTF-8") from None
        for line, written in written_in(text):
            for name, nearest in unknown([(written, "")], settings).items():
                yield f"{file}:{line}: {_sentence(name, nearest)}"


def _sentence(name: str, nearest: str | None) -> str:
    meant = f"; the nearest is {nearest}" if nearest else ""
    return f"{name} is no setting of this service{meant}"
