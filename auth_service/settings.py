"""Settings of the auth service, each with its unit and its reason.

Every process asks for what it needs and no more: the relay has no private key, the API no broker.
"""

import os
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import SettingsConfigDict

from contracts.keys import UnusableKey, private_key
from contracts.settings import AmqpUrl, DatabaseUrl, ServiceSettings

PASSWORD_LENGTH_MAX = 256
"""Far above any passphrase; more would only make hashing a way to keep the service busy."""


def _usable(value: SecretStr) -> SecretStr:
    try:
        private_key(value.get_secret_value())
    except UnusableKey as error:
        raise ValueError(f"is not usable: {error}") from None
    return value


class DatabaseSettings(ServiceSettings):
    """The auth database: all that the migrations and ``status`` need."""

    model_config = SettingsConfigDict(env_prefix="AUTH_")

    database_url: DatabaseUrl
    # Requests beyond that wait for a connection; PostgreSQL slows down when given more at once.
    database_connections_max: Annotated[int, Field(ge=1, le=100)] = 10
    # A statement on the request path takes milliseconds; longer means a lock or a sick database.
    statement_timeout_ms: Annotated[int, Field(ge=100)] = 5_000
    lock_timeout_ms: Annotated[int, Field(ge=100)] = 2_000


class ApiSettings(DatabaseSettings):
    """``auth-service api``."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8001
    # `iss` of every token and `source` of every event; an address by which clients know us.
    issuer: Annotated[str, Field(min_length=1, max_length=512)]
    # `aud` of every token: the services that accept them.
    audience: Annotated[str, Field(min_length=1, max_length=512)] = "blog"
    private_key: Annotated[SecretStr, AfterValidator(_usable)]
    # How long a stolen token could be used at a service that does not see the user's state.
    access_token_seconds: Annotated[int, Field(ge=60, le=3600)] = 900
    # NIST SP 800-63B-4: 15 where a password is the only factor, never under 8.
    password_length_min: Annotated[int, Field(ge=8, le=64)] = 15
    # argon2id takes 20 MB and 18 ms of a core each; more threads than cores only add memory.
    hashing_threads: Annotated[int, Field(ge=1, le=64)] = os.cpu_count() or 1
    # About two seconds of work; who comes later is told to come back instead of waiting.
    hashing_waiting_max: Annotated[int, Field(ge=1)] = 128
    # The longest body is a sign-up of under a kilobyte.
    body_bytes_max: Annotated[int, Field(ge=1024)] = 64 * 1024
    # The interactive documentation is for development.
    docs: bool = True


class RelaySettings(DatabaseSettings):
    """``auth-service relay``."""

    amqp_url: AmqpUrl
    issuer: Annotated[str, Field(min_length=1, max_length=512)]
    host: str = "127.0.0.1"
    # The relay's own health and metrics.
    relay_port: Annotated[int, Field(ge=1, le=65535)] = 8011
    # Events claimed at once, and so the most that are unconfirmed; the client gains nothing
    # above 50 in flight, and the database works best from 500 rows a statement.
    relay_batch_size: Annotated[int, Field(ge=1, le=5_000)] = 500
    # A healthy broker confirms in milliseconds; after that the connection is given up.
    publish_timeout_seconds: Annotated[float, Field(gt=0)] = 10.0
    # How often a sign of life goes through the whole pipe.
    heartbeat_seconds: Annotated[float, Field(gt=0)] = 15.0
    # The longest pause between two tries while the broker or the database is away.
    retry_seconds_max: Annotated[float, Field(gt=0)] = 5.0
