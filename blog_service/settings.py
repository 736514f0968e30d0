"""Settings of the blog service, each with its unit and its reason.

Every process asks for what it needs and no more: the API has no broker, the consumer no key.
"""

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict

from contracts.keys import UnusableKey, public_key
from contracts.settings import AmqpUrl, DatabaseUrl, ServiceSettings


def _usable(text: str) -> str:
    try:
        public_key(text)
    except UnusableKey as error:
        raise ValueError(f"is not usable: {error}") from None
    return text


class DatabaseSettings(ServiceSettings):
    """The blog's database: all that the migrations need."""

    model_config = SettingsConfigDict(env_prefix="BLOG_")

    database_url: DatabaseUrl
    # Requests beyond that wait for a connection; PostgreSQL slows down when given more at once.
    database_connections_max: Annotated[int, Field(ge=1, le=100)] = 10
    # A statement on the request path takes milliseconds; longer means a lock or a sick database.
    statement_timeout_ms: Annotated[int, Field(ge=100)] = 5_000
    lock_timeout_ms: Annotated[int, Field(ge=100)] = 2_000


class ApiSettings(DatabaseSettings):
    """``blog-service api``."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8002
    # Whose tokens are accepted, and made out to whom.
    issuer: Annotated[str, Field(min_length=1, max_length=512)]
    audience: Annotated[str, Field(min_length=1, max_length=512)] = "blog"
    public_key: Annotated[str, AfterValidator(_usable)]
    # The longest body this API takes.
    body_bytes_max: Annotated[int, Field(ge=1024)] = 64 * 1024
    # The interactive documentation is for development.
    docs: bool = True


class StatusSettings(DatabaseSettings):
    """``blog-service status``: the database, and the broker for the depth of the queues."""

    amqp_url: AmqpUrl


class ConsumerSettings(StatusSettings):
    """``blog-service consumer``."""

    host: str = "127.0.0.1"
    # The consumer's own health and metrics.
    consumer_port: Annotated[int, Field(ge=1, le=65535)] = 8012
    # Messages in memory at most; the client reads no faster with more.
    prefetch: Annotated[int, Field(ge=1, le=5_000)] = 1_000
    # Messages in one transaction; upserts gain nothing above.
    batch_size: Annotated[int, Field(ge=1, le=5_000)] = 500
    # Tries of a message during which the process died, before it is parked.
    attempts_max: Annotated[int, Field(ge=1, le=100)] = 5
    # Messages parked in a row for the same reason before the consumer stops with an alarm.
    parked_in_a_row_max: Annotated[int, Field(ge=1)] = 10
    # How long messages are held while the database is away; well below the broker's own limit of
    # half an hour for an unacknowledged message.
    database_patience_seconds: Annotated[float, Field(gt=0)] = 60.0
    # The longest pause between two tries while the broker or the database is away.
    retry_seconds_max: Annotated[float, Field(gt=0)] = 5.0
    # How long a stop may take to finish the messages at hand; orchestrators kill after 30 s.
    drain_seconds_max: Annotated[float, Field(gt=0)] = 20.0
