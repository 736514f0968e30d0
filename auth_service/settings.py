"""Settings of the auth service, each with its unit and its reason.

Every process asks for what it needs and no more: the relay has no private key, the API no broker.
"""

import os
import re
from typing import Annotated, ClassVar, Literal, Self

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    ValidationInfo,
    model_validator,
)
from pydantic_settings import SettingsConfigDict

from auth_service.mail_addresses import sender_address, smtp_server
from auth_service.secrets import Secrets, secret_from_key
from contracts.tokens.key_set import InvalidKeySet, read_key_set
from contracts.tokens.keys import UnusableKey, jwks, private_key
from service_kit.database import settings as database
from service_kit.http.settings import HttpSettings
from service_kit.process.rates import Rate
from service_kit.process.setting_types import (
    AmqpUrl,
    Audience,
    Issuer,
    Port,
    PublicUrl,
    QueueNames,
    RateSetting,
    public_url,
)
from service_kit.process.settings import SEVERAL_LINES, ServiceSettings


def _usable(value: SecretStr) -> SecretStr:
    try:
        read_key_set(jwks(private_key(value.get_secret_value()).public_key()))
    except (UnusableKey, InvalidKeySet) as error:
        raise ValueError(f"is not usable: {error}") from None
    return value


def _or_a_secret(value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
    if value is None and info.data.get("secret") is None:
        raise ValueError("set it, or AUTH_SECRET and have keys in the database")
    return value


def _is_mail_server(value: SecretStr) -> SecretStr:
    smtp_server(value.get_secret_value())
    return value


def _is_sender(value: str) -> str:
    sender_address(value)
    return value


def _is_page(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s#]+", value):
        raise ValueError("must be the address of a page (https://…), without a #")
    return value


def _before(text: SecretStr) -> bytes:
    """The previous secret; a private key is meant as what was derived from it."""
    try:
        return secret_from_key(private_key(text.get_secret_value()))
    except UnusableKey:
        return text.get_secret_value().encode()


class DatabaseSettings(database.DatabaseSettings, ServiceSettings):
    """The auth database: all that the migrations and ``status`` need."""

    model_config = SettingsConfigDict(env_prefix="AUTH_")
    application_name: ClassVar[str] = "auth-service"


class StatusSettings(DatabaseSettings):
    """``auth-service status``, and the API, which tells operators the same."""

    # How often a sign of life goes through the whole pipe.
    heartbeat_seconds: Annotated[float, Field(gt=0)] = 15.0


class ReplaySettings(DatabaseSettings):
    """What ``auth-service replay start`` needs: with a broker it looks for the consumer's queue."""

    amqp_url: AmqpUrl | None = None


class OperatorSettings(DatabaseSettings):
    """What the commands about users need besides."""

    # NIST SP 800-63B-4: 15 where a password is the only factor, never under 8.
    password_length_min: Annotated[int, Field(ge=8, le=64)] = 15


class KeySettings(DatabaseSettings):
    """What the commands about keys and service accounts need besides: the secrets."""

    # What stored keys are sealed, and API keys, refresh tokens and throttle rows are hashed with.
    # Without it, derived from the private key.
    secret: Annotated[SecretStr, Field(min_length=32, max_length=1024)] | None = None
    # Signs until another key is activated (`auth-service keys`); without it, keys come from the
    # database alone.
    private_key: Annotated[
        Annotated[SecretStr, AfterValidator(_usable)] | None,
        AfterValidator(_or_a_secret),
        Field(validate_default=True),
        SEVERAL_LINES,
    ] = None
    # The secret before the present one, or the private key before it where none was set: what was
    # sealed or hashed with it stays readable.
    previous_secret: Annotated[
        Annotated[SecretStr, Field(min_length=32, max_length=16_384)] | None, SEVERAL_LINES
    ] = None
    # How long a new key is published before it may sign: longer than any verifier keeps a set.
    key_wait_seconds: Annotated[int, Field(ge=0)] = 900
    # How long a retired key stays published: longer than any token that it signed lives.
    key_hold_seconds: Annotated[int, Field(ge=0)] = 4200
    # An API key that nobody renews stops working by itself.
    api_key_days: Annotated[int, Field(ge=1, le=3650)] = 90

    @property
    def configured_key(self) -> RSAPrivateKey | None:
        """The private key of the setting, parsed."""
        text = self.private_key
        return None if text is None else private_key(text.get_secret_value())

    @property
    def secrets(self) -> Secrets:
        """Every key that is derived from the secret, and from those that were in its place."""
        key = self.configured_key
        own = [] if key is None else [secret_from_key(key)]
        present = [] if self.secret is None else [self.secret.get_secret_value().encode()]
        previous = [] if self.previous_secret is None else [_before(self.previous_secret)]
        first, *others = present + own
        return Secrets(first, *previous, *others)


class ApiSettings(HttpSettings, KeySettings, OperatorSettings, StatusSettings):
    """``auth-service api``."""

    # `iss` of every token: the name by which clients know us. It never changes; the address may.
    issuer: Issuer
    # Where clients and browsers find this service: links in mails and the endpoints in the metadata
    # (RFC 8414) are below it. Default: the issuer.
    public_url: PublicUrl | None = None
    port: Port = 8001
    # `aud` of every token: the services that accept them.
    audience: Audience = "blog"
    # How long a stolen token could be used at a service that does not see the user's state.
    access_token_seconds: Annotated[int, Field(ge=60, le=3600)] = 900
    # A service has its API key at hand and asks again.
    service_token_seconds: Annotated[int, Field(ge=60, le=3600)] = 600
    # A session ends when it was not refreshed for that long, ...
    session_idle_seconds: Annotated[int, Field(ge=60)] = 14 * 86_400
    # ... and in any case after that.
    session_absolute_seconds: Annotated[int, Field(ge=60)] = 30 * 86_400
    # How long a refresh that crossed another one, or lost its answer, gets the same successor;
    # 0 takes every repetition for theft.
    refresh_grace_seconds: Annotated[int, Field(ge=0, le=60)] = 10
    # Devices of one person; a further sign-in ends the session that was idle the longest.
    sessions_per_user_max: Annotated[int, Field(ge=1, le=1_000)] = 50
    # argon2id takes 20 MB and 18 ms of a core each; more threads than cores only add memory.
    hashing_threads: Annotated[int, Field(ge=1, le=64)] = os.cpu_count() or 1
    # About two seconds of work; who comes later is told to come back instead of waiting.
    hashing_waiting_max: Annotated[int, Field(ge=1)] = 128
    # Sign-ups from one network (an IPv4 address or an IPv6 /64; a /48 has four times as many).
    limit_signup: RateSetting = Rate(20, 60)
    # Sign-ins from one network, right or wrong ...
    limit_signin: RateSetting = Rate(30, 60)
    # ... and wrong ones.
    limit_signin_failures: RateSetting = Rate(10, 60)
    # Wrong passwords for one account, from networks where its owner has not signed in for 90 days.
    limit_account_failures: RateSetting = Rate(100, 3600)
    # Wrong passwords for one account from one network before each further try has to wait.
    signin_failures_free: Annotated[int, Field(ge=1, le=100)] = 5
    # The wait doubles from one second up to this.
    signin_delay_seconds_max: Annotated[int, Field(ge=1, le=86_400)] = 900
    # After that long without a try, failures are forgotten.
    signin_memory_seconds: Annotated[int, Field(ge=60)] = 12 * 3600
    # Refreshes from one network.
    limit_refresh: RateSetting = Rate(150, 300)
    # Requests of one service for tokens, introspection and revocation, each for itself. From one
    # network: the same with wrong credentials, revocations without any, and opened links of mails.
    limit_token: RateSetting = Rate(60, 60)
    # Questions of one service about tokens: as many as strangers may send it rubbish.
    limit_introspect: RateSetting = Rate(6000, 60)
    # Tries to confirm something by password, in one session.
    limit_password: RateSetting = Rate(5, 300)
    # Changes of one account's password or address, by its password: each ends the reset links that
    # were mailed, so whoever signed up with another's address must not make them in a loop.
    limit_account_changes: RateSetting = Rate(20, 3600)
    # All mails to one e-mail address, of any kind and cause; requests for mails to one address, and
    # from one network. Nobody needs more to find the one they wait for.
    limit_mail: RateSetting = Rate(5, 3600)
    # Mails that one network (an IPv4 address, an IPv6 /64; a /48 has four times as many) causes to
    # all addresses: the sign-ups of an office, and no campaign.
    limit_mail_network: RateSetting = Rate(60, 3600)
    # Notices of one kind (changed password or address, stolen session, new device) to one address
    # although its limit is spent: nobody can keep them away by using it up.
    limit_mail_notices: RateSetting = Rate(2, 3600)
    # The SMTP server, smtp://user:password@host:587 (STARTTLS) or smtps://…:465; without it, and
    # without a folder, no mail is sent and addresses stay unverified.
    smtp_url: Annotated[SecretStr, AfterValidator(_is_mail_server)] | None = None
    # For development: mails are written here as files.
    mail_folder: str | None = None
    mail_from: Annotated[str, Field(max_length=320), AfterValidator(_is_sender)] = (
        "usersync <no-reply@localhost>"
    )
    # The page that the links in mails open; the token follows after the #. Default: PUBLIC_URL/link
    link_url: Annotated[str, Field(max_length=512), AfterValidator(_is_page)] | None = None
    # When a new e-mail address counts: `confirmed`, once the link mailed to it was opened, or
    # `immediate`. Default: confirmed where mail can be sent, else immediate.
    email_change: Literal["confirmed", "immediate"] | None = None
    # How long the former address can undo a change that has taken effect: over a long weekend.
    email_undo_seconds: Annotated[int, Field(ge=3600, le=30 * 86_400)] = 72 * 3600
    # Whether a sign-in from a device or network that was not seen before is told by mail.
    mail_new_device: bool = False
    # People read their mail within a day; a reset is asked for by someone who waits for it.
    verification_link_seconds: Annotated[int, Field(ge=60)] = 86_400
    reset_link_seconds: Annotated[int, Field(ge=60)] = 1800
    # How long one answer to a replica that compares itself may take: ten million users take one.
    reconcile_seconds_max: Annotated[float, Field(gt=0)] = 600.0
    # Such answers at once; each keeps a core of the database busy, and one replica asks for two.
    reconcile_at_once_max: Annotated[int, Field(ge=2, le=20)] = 4
    # Heartbeats that one service may ask for.
    limit_heartbeats: RateSetting = Rate(120, 60)

    @property
    def address(self) -> str:
        """Where clients and browsers find this service."""
        return self.public_url or public_url(self.issuer)

    @property
    def can_mail(self) -> bool:
        """Whether there is a way for mails to go."""
        return self.smtp_url is not None or self.mail_folder is not None

    @property
    def confirms_email_change(self) -> bool:
        """Whether a new address is pending until its link is opened."""
        return self.can_mail and self.email_change != "immediate"

    @model_validator(mode="after")
    def _clients_find_it(self) -> Self:
        try:
            self.address  # noqa: B018 - it raises
        except ValueError as error:
            raise ValueError(
                f"AUTH_PUBLIC_URL: set it, since AUTH_ISSUER is no address; it {error}"
            ) from None
        return self

    @model_validator(mode="after")
    def _mails_go_one_way(self) -> Self:
        if self.smtp_url is not None and self.mail_folder is not None:
            raise ValueError("set AUTH_SMTP_URL or AUTH_MAIL_FOLDER, not both")
        if self.email_change == "confirmed" and not self.can_mail:
            raise ValueError(
                "AUTH_EMAIL_CHANGE=confirmed needs mail: set AUTH_SMTP_URL or AUTH_MAIL_FOLDER, or"
                " AUTH_EMAIL_CHANGE=immediate"
            )
        return self


class RelaySettings(StatusSettings):
    """``auth-service relay``."""

    amqp_url: AmqpUrl
    issuer: Issuer
    host: str = "127.0.0.1"
    # The relay's own health and metrics.
    relay_port: Port = 8011
    # Events claimed at once, and so the most that are unconfirmed; the client gains nothing
    # above 50 in flight, and the database works best from 500 rows a statement.
    relay_batch_size: Annotated[int, Field(ge=1, le=5_000)] = 500
    # A healthy broker confirms in milliseconds; after that the connection is given up.
    publish_timeout_seconds: Annotated[float, Field(gt=0)] = 10.0
    # The longest pause between two tries while the broker or the database is away.
    retry_seconds_max: Annotated[float, Field(gt=0)] = 5.0
    # Events of a replay that are read and published at once.
    replay_batch_size: Annotated[int, Field(ge=1, le=5_000)] = 500
    # Queues of consuming services whose depth operators are shown, also while nobody consumes.
    watched_queues: QueueNames = ()
    # Published events older than that are deleted from the log once an hour; without it, never.
    outbox_keep_days: Annotated[int, Field(ge=1)] | None = None
