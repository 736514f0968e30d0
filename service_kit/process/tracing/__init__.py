"""Record spans of requests and messages, and send them to a collector, if the environment asks.

The seam between our code and OpenTelemetry. Off by default: then nothing of its SDK is imported,
``current()`` is None, and no caller does more than look at that. The standard variables
(``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_TRACES_SAMPLER`` …) turn it on and configure it.

Guarantees: nothing waits for the collector, and nothing is lost with it but spans. Only a trace
that is sampled costs anything. No span contains a payload, an address, a query or an exception's
message.

Not here: what spans there are (``service_kit.http.tracing``, ``service_kit.broker.tracing``). What
is imported only if traces are on: ``recorder``, over ``requests``, ``messages`` and ``sender``.
"""

import atexit
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from service_kit.process.errors import BadSettings

if TYPE_CHECKING:
    from service_kit.process.tracing.recorder import Recorder

EXPORTER: Final = "OTEL_TRACES_EXPORTER"
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

PROTOCOL: Final = "http/protobuf"

_recorder: "Recorder | None" = None


def current() -> "Recorder | None":
    """What records the spans of this process; None while traces are off."""
    return _recorder


def begin(process: str) -> None:
    """Record the spans of this process from now on, if the environment asks for it.

    Those that are not sent yet are sent when the process ends, within limited time.

    Parameters:
        process: the name by which operators know it, such as ``auth-service relay``.

    Raises:
        BadSettings: a variable asks for what is not there.
    """
    global _recorder
    asking = asked_by(os.environ)
    if asking is None:
        return
    try:
        from service_kit.process.tracing.recorder import Recorder
    except ModuleNotFoundError:
        raise BadSettings(
            f"{asking}: turns traces on, but their packages are missing; install usersync[otel]"
        ) from None
    _recorder = Recorder(process)
    atexit.register(end)


def end() -> None:
    """Send what is recorded, within limited time, and record nothing from now on."""
    global _recorder
    ending, _recorder = _recorder, None
    if ending is not None:
        ending.end()


def asked_by(environment: Mapping[str, str]) -> str | None:
    """Return the variable that turns traces on; None if there is none, or another turns them off.

    Raises:
        BadSettings: another exporter or protocol than OTLP over HTTP is asked for.
    """

    def value(name: str) -> str:
        return environment.get(name, "").strip()

    exporter = value(EXPORTER).lower()
    asking = next((name for name in (EXPORTER, *ENDPOINTS) if value(name)), None)
    if exporter == "none" or value("OTEL_SDK_DISABLED").lower() == "true" or asking is None:
        return None
    if exporter not in ("", "otlp"):
        raise BadSettings(f"{EXPORTER}: traces are sent by otlp only; set otlp or none")
    for name in PROTOCOLS:
        if value(name) not in ("", PROTOCOL):
            raise BadSettings(f"{name}: traces are sent by {PROTOCOL} only")
    return asking
