"""Settings of a service with a replica, each with its unit and its reason.

Each process asks for what it needs and no more: the API has no broker, the consumer no key. A
service subclasses these with its prefix and the name of its command, and adds its own settings.
Error messages name a setting with the service's prefix.
"""

from collections.abc import Callable
from typing import Annotated, ClassVar, Self

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from contracts.tokens.key_set import InvalidKeySet, read_key_set
from contracts.tokens.keys import UnusableKey, jwks, public_key
from replica.inbox.activity import HEARTBEAT_SECONDS_MAX
from service_kit.broker.settings import BrokerSettings
from service_kit.database import settings as database
from service_kit.http.settings import HttpSettings
from service_kit.http.tails.settings import TailSettings
from service_kit.process.setting_types import (
    AmqpUrls,
    Audience,
    HttpUrl,
    Issuer,
    LoopbackUrl,
    Port,
    PublicUrl,
    public_url,
)
from service_kit.process.settings import SEVERAL_LINES, ServiceSettings, value_now


def _usable(text: str) -> str:
    try:
        read_key_set(jwks(public_key(text)))
    except (UnusableKey, InvalidKeySet) as error:
        raise ValueError(f"is not usable: {error}") from None
    return text


def _at_least(smallest: int, why: str) -> Callable[[int], int]:
    """Make a check of a number whose message says why a smaller one does not work."""

    def check(value: int) -> int:
        if value < smallest:
            raise ValueError(f"must be {smallest} or more: {why}")
        return value

    return check


CONNECTIONS_MIN = 3
"""Of a consumer: each of two comparison locks occupies a connection, and all else needs one."""

_FOR_A_RUN = _at_least(2, "a comparison holds a lock on one connection and works on another")
_FOR_THE_CONSUMER = _at_least(
    CONNECTIONS_MIN, "a comparison holds two connections, and messages need another"
)


class DatabaseSettings(database.DatabaseSettings, ServiceSettings):
    """The database of the replica; ``application_name`` is the service's command."""

    # Shorter than a statement's limit, which would end the wait without naming a lock as the cause.
    lock_timeout_ms: Annotated[int, Field(ge=100, validate_default=True)] = 2_000
    # Age of the last heartbeat from which on the source is silent: three of AUTH_HEARTBEAT_SECONDS,
    # of which one may be late.
    heartbeat_seconds_max: Annotated[float, Field(gt=0)] = HEARTBEAT_SECONDS_MAX

    @property
    def service_name(self) -> str:
        """The service's name: its prefix in small letters."""
        return self.variable("").rstrip("_").lower()

    @field_validator("lock_timeout_ms")
    @classmethod
    def _shorter_than_a_statement(cls, value: int, info: ValidationInfo) -> int:
        limit = info.data.get("statement_timeout_ms")
        if limit is not None and value >= limit:
            setting = cls.variable("statement_timeout_ms")
            raise ValueError(f"must be less than {setting}, which is {limit}")
        return value


class SourceSettings(DatabaseSettings):
    """The source's address, and an account there: for comparisons and for requests of replays."""

    # Where the source answers, and the service account (users:reconcile, replays:write) with which
    # we ask.
    auth_url: HttpUrl | None = None
    service_id: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    api_key: Annotated[SecretStr, Field(min_length=1, max_length=512)] | None = None

    @property
    def can_reconcile(self) -> bool:
        """Whether there is a source to compare with."""
        return self.auth_url is not None

    def credentials(self) -> tuple[str, str]:
        """The account's id and key; as their files have them now, if they are files.

        So a key is replaced while the processes run.

        Raises:
            BadSettings: a file cannot be read.
        """
        assert self.service_id is not None  # given, like the key, if there is a source
        assert self.api_key is not None
        account, key = (value_now(type(self), name) for name in ("service_id", "api_key"))
        return account or self.service_id, key or self.api_key.get_secret_value()

    @model_validator(mode="after")
    def _all_or_none(self) -> Self:
        names = [self.variable(name) for name in ("auth_url", "service_id", "api_key")]
        given = dict(zip(names, (self.auth_url, self.service_id, self.api_key), strict=True))
        missing = [name for name, value in given.items() if value is None]
        if 0 < len(missing) < len(given):
            raise ValueError(
                f"{' and '.join(missing)}: set it as well; to ask the source needs"
                f" {', '.join(given)}"
            )
        return self


class ApiSettings(TailSettings, HttpSettings, SourceSettings):
    """An API whose callers are checked against the replica."""

    is_api: ClassVar[bool] = True

    port: Port = 8002
    # Issuer and audience of accepted tokens.
    issuer: Issuer
    audience: Audience
    # Where browsers find the auth service: pages send passwords there and nowhere else. Default:
    # the issuer; that is a name which never changes, while addresses do.
    auth_public_url: PublicUrl | None = None
    # Where the console's page "Break it" finds the fault injector of `make up`; without it there is
    # no such page. On this machine alone: nothing that serves others is to be broken by a button.
    faults_url: LoopbackUrl | None = None
    # Where the issuer publishes its keys: they may change, and a revoked one is dropped.
    jwks_url: HttpUrl | None = None
    # The issuer's one key; with an address as well, what counts until its first response.
    public_key: Annotated[
        Annotated[str, AfterValidator(_usable)] | None,
        Field(validate_default=True),
        SEVERAL_LINES,
    ] = None
    # While the replica is known to be incomplete, /readyz says "degraded" (200); with this, 503.
    refuse_while_degraded: bool = False

    @property
    def auth_address(self) -> str:
        """Where pages of this service find the auth service."""
        return self.auth_public_url or public_url(self.issuer)

    @field_validator("public_key")
    @classmethod
    def _or_an_address(cls, text: str | None, info: ValidationInfo) -> str | None:
        if text is None and info.data.get("jwks_url") is None:
            raise ValueError(
                f"set it, or {cls.variable('jwks_url')}, or both: without keys no token can be"
                " verified"
            )
        return text

    @model_validator(mode="after")
    def _pages_find_the_auth_service(self) -> Self:
        try:
            self.auth_address  # noqa: B018 - it raises
        except ValueError as error:
            raise ValueError(
                f"{self.variable('auth_public_url')}: set it, since {self.variable('issuer')} is no"
                f" address; it {error}"
            ) from None
        return self


class StatusSettings(BrokerSettings, DatabaseSettings):
    """The command ``status``: the database, and the broker for the depth of the queues."""

    amqp_url: AmqpUrls


class ReconcileSettings(SourceSettings):
    """The command ``reconcile``, and the consumer's own comparisons."""

    needs_own_session: ClassVar[bool] = True

    database_connections_max: Annotated[int, Field(le=100), AfterValidator(_FOR_A_RUN)] = 10
    # How long to wait for a heartbeat that was asked for; behind a long queue it takes its time.
    reconcile_wait_seconds: Annotated[float, Field(gt=0)] = 60.0
    # The longest statement of a run: a digest of ten million users takes half a minute.
    reconcile_statement_seconds: Annotated[float, Field(gt=0)] = 600.0
    # The longest silence of the source in the middle of a response; its digests are one silence.
    reconcile_silence_seconds: Annotated[float, Field(gt=0)] = 600.0


class ConsumerSettings(StatusSettings, ReconcileSettings):
    """The process ``consumer``."""

    database_connections_max: Annotated[int, Field(le=100), AfterValidator(_FOR_THE_CONSUMER)] = 10
    # Receive messages through the client library instead of in bulk: slower, in case the fast path
    # misbehaves.
    amqp_plain: bool = False
    host: str = "127.0.0.1"
    # The consumer's own health and metrics.
    consumer_port: Port = 8012
    # RabbitMQ's management API, without a path, to warn of policies that are stricter than needed;
    # by default on the broker's host if that has AMQP's usual port. With its user and password.
    rabbitmq_management_url: HttpUrl | None = None
    # Messages in memory at most; the client reads no faster with more.
    prefetch: Annotated[int, Field(ge=1, le=5_000)] = 1_000
    # Messages in one transaction; upserts gain nothing above.
    batch_size: Annotated[int, Field(ge=1, le=5_000)] = 500
    # Messages of a replay in one transaction: live ones wait for it at most once. On two overloaded
    # cores the slowest hundredth of them took 75 ms at fifty, 110 ms at a hundred; idle cores, 15.
    replay_batch_size: Annotated[int, Field(ge=1, le=5_000)] = 50
    # How often the replica is compared with its source by itself, with a tenth of jitter; 0: never.
    reconcile_every_seconds: Annotated[float, Field(ge=0)] = 6 * 3600.0
    # Prove with every heartbeat that the replica equals its source; needs a source to compare with.
    proof: bool = True
    # After how long a proof asks the source for its next signed certificate; 0: never. Of two that
    # are more than two minutes apart, the time between counts as not proved.
    certificate_seconds: Annotated[float, Field(ge=0, le=90)] = 60.0
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

    @property
    def makes_proofs(self) -> bool:
        """Whether a proof is made with every heartbeat."""
        return self.proof and self.can_reconcile
