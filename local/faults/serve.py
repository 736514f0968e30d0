"""The process of the fault injector, which ``make up`` starts."""

import logging

from local.addresses import Addresses, url
from local.faults.api import Settings, create_app
from local.faults.inject import Injector
from local.faults.stage import LocalStage
from service_kit.http.serving import serve
from service_kit.process.telemetry import configure_logging


def serve_faults() -> None:
    """Serve until SIGTERM; what is stopped then starts again.

    Raises:
        LocalError: the system was never started here.
        OperatorError: the port is taken.
    """
    logging.disable(logging.NOTSET)  # its log is the record of who broke what
    configure_logging("faults")
    ports = Addresses.current().ports
    settings = Settings(port=ports.faults, cors_origins=(url(ports.blog),))
    app = create_app(Injector(LocalStage()), settings)
    serve(app, host=settings.host, port=settings.port, setting=".local/system.json")
