"""Look for misspelt settings: at the start of a process, and by the command ``settings``."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated

import structlog
import typer

from service_kit.process.errors import OperatorError
from service_kit.process.setting_names import unknown, written_in
from service_kit.process.settings import ServiceSettings, dotenv_variables
from service_kit.process.terminal import failing_with_a_sentence

log = structlog.get_logger()


def warn_of_unknown(settings: type[ServiceSettings]) -> None:
    """Log each variable with the service's prefix that no process of it reads.

    Parameters:
        settings: what all settings of the service inherit from.
    """
    for name, nearest in unknown(_given(settings).items(), settings).items():
        log.warning("setting.ignored", name=name, nearest=nearest)


def setting_commands(settings: type[ServiceSettings]) -> typer.Typer:
    """The commands ``settings …`` of a service.

    Parameters:
        settings: what all settings of the service inherit from.
    """
    app = typer.Typer(no_args_is_help=True, help="Look at the settings.")
    app.command("check", epilog="Example: settings check .env docker-compose.yml")(
        failing_with_a_sentence(_check(settings))
    )
    return app


def _check(settings: type[ServiceSettings]) -> Callable[[list[Path] | None], None]:
    def check(
        files: Annotated[
            list[Path] | None, typer.Argument(metavar="FILE…", show_default=False)
        ] = None,
    ) -> None:
        """Name each unknown setting; exit 1 if there is one.

        Looks at the environment and at .env in this folder or, if files are named, at these:
        .env, Compose, Kubernetes or systemd files.
        """
        lines = list(_unknown_in_files(files, settings)) if files else list(_unknown_here(settings))
        if lines:
            raise OperatorError("\n".join(lines))
        print("no unknown setting")

    return check


def _unknown_here(settings: type[ServiceSettings]) -> Iterator[str]:
    for name, nearest in unknown(_given(settings).items(), settings).items():
        yield _sentence(name, nearest)


def _unknown_in_files(files: list[Path], settings: type[ServiceSettings]) -> Iterator[str]:
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


def _given(settings: type[ServiceSettings]) -> Mapping[str, str]:
    """What a process would see: ``.env``, and the environment before it."""
    return {**dotenv_variables(settings), **os.environ}
