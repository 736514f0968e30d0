"""Settings of a process that serves an API, a base for its settings."""

from typing import Annotated

from pydantic import Field

from service_kit.process.setting_types import Origins, Port, TrustedProxies
from service_kit.process.settings import ServiceSettings


class HttpSettings(ServiceSettings):
    """An API's address, trusted proxies and limits on bodies.

    The port has another default in each service.
    """

    host: str = "127.0.0.1"
    port: Port
    # The longest body, in bytes; ours are under a kilobyte unless a service says otherwise.
    body_bytes_max: Annotated[int, Field(ge=1024)] = 64 * 1024
    # How long a body may take to arrive; a slow phone sends 128 KiB in six seconds.
    body_seconds_max: Annotated[float, Field(gt=0)] = 10.0
    # Origins whose pages may call from browsers (CORS), with credentials.
    cors_origins: Origins = ()
    # Proxies whose X-Forwarded-For and X-Forwarded-Proto are believed; none by default.
    trusted_proxies: TrustedProxies = ()
    # How long requests are still served after SIGTERM, while /readyz is 503. HAProxy's default
    # checks take up to six seconds to notice (three failures, two seconds apart); idle connections,
    # which are closed after five, are gone by then. With the requests in progress, which have ten
    # more, the process ends well before orchestrators kill it after 30.
    shutdown_delay_seconds: Annotated[float, Field(ge=0, le=300)] = 8.0
    # The interactive documentation, for development; in production it would serve attackers.
    docs: bool = False
