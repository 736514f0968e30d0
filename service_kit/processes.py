"""Start the processes of a service, and show its status, the same way in each service."""

from typing import TypeVar

import structlog
from starlette.types import ASGIApp

from service_kit.database.commands import require_suitable
from service_kit.database.settings import DatabaseSettings
from service_kit.http.serving import serve
from service_kit.http.settings import HttpSettings
from service_kit.process import tracing
from service_kit.process.load import load
from service_kit.process.setting_names import unknown
from service_kit.process.settings import given_variables
from service_kit.process.telemetry import configure_logging

log = structlog.get_logger()

S = TypeVar("S", bound=DatabaseSettings)


def start(settings: type[S], process: str) -> S:
    """Prepare a process: read its settings, set up its log and traces, and check its database.

    Parameters:
        settings: of the process.
        process: its command, such as ``api``.

    Raises:
        BadSettings: a setting is missing or wrong, or a variable that turns traces on.
        UnsuitableDatabase: the database has the wrong encoding.
    """
    loaded = load(settings)
    name = f"{loaded.application_name} {process}"
    configure_logging(name)
    tracing.begin(name)
    for ignored, nearest in unknown(given_variables(settings).items(), settings).items():
        log.warning("setting.ignored", name=ignored, nearest=nearest)
    require_suitable(loaded)
    return loaded


def serve_api(app: ASGIApp, settings: HttpSettings) -> None:
    """Serve ``app`` where the settings say, until asked to end.

    Raises:
        OperatorError: the port is taken.
    """
    serve(
        app,
        host=settings.host,
        port=settings.port,
        setting=settings.variable("port"),
        trusted_proxies=settings.trusted_proxies,
        shutdown_delay_seconds=settings.shutdown_delay_seconds,
    )
