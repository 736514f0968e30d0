"""Settings of the auth service, each with its unit and its reason.

Each process requires only what it needs: the relay has no private key, the API no broker.
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

from auth_service import lenient_base64
from auth_service.mail_addresses import sender_address, smtp_server
from auth_service.secrets import Secrets, secret_from_key
from contracts.tokens.key_set import InvalidKeySet, read_key_set
from contracts.tokens.keys import UnusableKey, jwks, private_key
from service_kit.broker.settings import BrokerSettings
from service_kit.database import settings as database
from service_kit.http.settings import HttpSettings
from service_kit.http.tails.settings import TailSettings
from service_kit.process.rates import Rate
from service_kit.process.setting_types import (
    AmqpUrls,
    Audience,
    Issuer,
    Port,
    PublicUrl,
    QueueNames,
    RateSetting,
    public_url,
)
from service_kit.process.settings import SEVERAL_LINES, ServiceSettings


def _require_usable_key(value: SecretStr) -> SecretStr:
    try:
        read_key_set(jwks(private_key(value.get_secret_value()).public_key()))
    except (UnusableKey, InvalidKeySet) as error:
        raise ValueError(f"is not usable: {error}") from None
    return value


def _require_key_or_secret(value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
    if value is None and info.data.get("secret") is None:
        raise ValueError("set it, or set AUTH_SECRET and store keys in the database")
    return value


def _require_mail_server(value: SecretStr) -> SecretStr:
    smtp_server(value.get_secret_value())
    return value


def _require_sender(value: str) -> str:
    sender_address(value)
    return value


def _require_page_url(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s#]+", value):
        raise ValueError("must be an http:// or https:// URL without a #")
    return value


def _require_base64(value: SecretStr) -> SecretStr:
    try:
        lenient_base64.decode(value.get_secret_value())
    except ValueError:
        raise ValueError("must be in base64, as the console of Firebase shows it") from None
    return value


def _previous_secret(text: SecretStr) -> bytes:
    """The previous secret; a private key stands for the secret derived from it."""
    try:
        return secret_from_key(private_key(text.get_secret_value()))
    except UnusableKey:
        return text.get_secret_value().encode()


class DatabaseSettings(database.DatabaseSettings, ServiceSettings):
    """The auth database: what every process needs."""

    model_config = SettingsConfigDict(env_prefix="AUTH_")
    application_name: ClassVar[str] = "auth-service"


class MigrationSettings(database.MigrationSettings, DatabaseSettings):
    """The migrations of the auth database."""

    database_roles: Annotated[str, Field(min_length=1, max_length=40)] = "auth"


class StatusSettings(DatabaseSettings):
    """``auth-service status``, and the API, which shows operators the same."""

    # How often a heartbeat goes through the whole pipe.
    heartbeat_seconds: Annotated[float, Field(gt=0)] = 15.0


class ReplaySettings(BrokerSettings, DatabaseSettings):
    """``auth-service replay start``; with a broker it checks for the consumer's queue."""

    amqp_url: AmqpUrls | None = None


class OperatorSettings(DatabaseSettings):
    """Further settings of the commands about users."""

    # NIST SP 800-63B-4: 15 if a password is the only factor, never under 8.
    password_length_min: Annotated[int, Field(ge=8, le=64)] = 15
    # `base64_signer_key` of the Firebase project whose users were imported: without it their
    # passwords cannot be checked. Not needed once all of them have signed in.
    firebase_signer_key: (
        Annotated[SecretStr, Field(min_length=1, max_length=1024), AfterValidator(_require_base64)]
        | None
    ) = None

    @property
    def firebase_key(self) -> bytes | None:
        """The setting, decoded."""
        text = self.firebase_signer_key
        return None if text is None else lenient_base64.decode(text.get_secret_value())


class KeySettings(DatabaseSettings):
    """Further settings of the commands about keys and service accounts: the secrets."""

    # Encrypts stored keys, and hashes API keys, refresh tokens and throttle rows. Default: derived
    # from the private key.
    secret: Annotated[SecretStr, Field(min_length=32, max_length=1024)] | None = None
    # Signs until another key is activated (`auth-service keys`). Without it, all keys are in the
    # database.
    private_key: Annotated[
        Annotated[SecretStr, AfterValidator(_require_usable_key)] | None,
        AfterValidator(_require_key_or_secret),
        Field(validate_default=True),
        SEVERAL_LINES,
    ] = None
    # The previous secret, or the previous private key if none was set: what was encrypted or hashed
    # with it stays readable.
    previous_secret: Annotated[
        Annotated[SecretStr, Field(min_length=32, max_length=16_384)] | None, SEVERAL_LINES
    ] = None
    # How long a new key is published before it may sign: longer than any verifier caches a set.
    key_wait_seconds: Annotated[int, Field(ge=0)] = 900
    # How long a retired key stays published: longer than the tokens that it signed are valid.
    key_hold_seconds: Annotated[int, Field(ge=0)] = 4200
    # An API key expires unless it is renewed.
    api_key_days: Annotated[int, Field(ge=1, le=3650)] = 90

    @property
    def configured_key(self) -> RSAPrivateKey | None:
        """The private key of the setting, parsed."""
        text = self.private_key
        return None if text is None else private_key(text.get_secret_value())

    @property
    def secrets(self) -> Secrets:
        """The keys derived from the present secret and from previous ones."""
        key = self.configured_key
        own = [] if key is None else [secret_from_key(key)]
        present = [] if self.secret is None else [self.secret.get_secret_value().encode()]
        previous = [] if self.previous_secret is None else [_previous_secret(self.previous_secret)]
        first, *others = present + own
        return Secrets(first, *previous, *others)


class ApiSettings(TailSettings, HttpSettings, KeySettings, OperatorSettings, StatusSettings):
    """``auth-service api``."""

    is_api: ClassVar[bool] = True

    # `iss` of every token: the permanent name of this service. Its address may change.
    issuer: Issuer
    # The URL of this service for clients and browsers, in links in mails and in the metadata
    # (RFC 8414). Default: the issuer.
    public_url: PublicUrl | None = None
    port: Port = 8001
    # `aud` of every token: the services that accept them.
    audience: Audience = "blog"
    # How long a stolen token can be used at a service that does not check the user's state.
    access_token_seconds: Annotated[int, Field(ge=60, le=3600)] = 900
    # A service can get another one at any time with its API key.
    service_token_seconds: Annotated[int, Field(ge=60, le=3600)] = 600
    # A session expires if it is not refreshed for this long ...
    session_idle_seconds: Annotated[int, Field(ge=60)] = 14 * 86_400
    # ... and in any case after that.
    session_absolute_seconds: Annotated[int, Field(ge=60)] = 30 * 86_400
    # How long a concurrent refresh, or one whose response was lost, gets the same successor;
    # 0 treats every repetition as theft.
    refresh_grace_seconds: Annotated[int, Field(ge=0, le=60)] = 10
    # Devices of one person; another sign-in ends the longest idle session.
    sessions_per_user_max: Annotated[int, Field(ge=1, le=1_000)] = 50
    # argon2id takes 20 MB and 18 ms of a core each; more threads than cores only add memory.
    hashing_threads: Annotated[int, Field(ge=1, le=64)] = os.cpu_count() or 1
    # About two seconds of work; later requests are refused and told when to retry.
    hashing_waiting_max: Annotated[int, Field(ge=1)] = 128
    # Sign-ups from one network (an IPv4 address or an IPv6 /64; a /48 has four times as many).
    limit_signup: RateSetting = Rate(20, 60)
    # Sign-ins from one network, right or wrong ...
    limit_signin: RateSetting = Rate(30, 60)
    # ... and wrong ones.
    limit_signin_failures: RateSetting = Rate(10, 60)
    # Wrong passwords for one account, from networks where its owner has not signed in for 90 days.
    limit_account_failures: RateSetting = Rate(100, 3600)
    # Wrong passwords for one account from one network before each further attempt must wait.
    signin_failures_free: Annotated[int, Field(ge=1, le=100)] = 5
    # The wait doubles from one second up to this.
    signin_delay_seconds_max: Annotated[int, Field(ge=1, le=86_400)] = 900
    # After this long without an attempt, failures are reset.
    signin_memory_seconds: Annotated[int, Field(ge=60)] = 12 * 3600
    # Refreshes from one network.
    limit_refresh: RateSetting = Rate(150, 300)
    # Requests of one service for tokens and for revocation, each on its own. From one network: the
    # same with wrong credentials, revocations without any, and opened links of mails.
    limit_token: RateSetting = Rate(60, 60)
    # Introspections of one service: as many as strangers may send it invalid tokens.
    limit_introspect: RateSetting = Rate(6000, 60)
    # Attempts to confirm a change by password, in one session.
    limit_password: RateSetting = Rate(5, 300)
    # Changes of one account's password or address, by its password. Each invalidates the mailed
    # reset links, so nobody who signed up with another person's address may loop them.
    limit_account_changes: RateSetting = Rate(20, 3600)
    # All mails to one e-mail address, of any kind and cause; requests for mails to one address, and
    # from one network. Nobody needs more to find the mail they wait for.
    limit_mail: RateSetting = Rate(5, 3600)
    # Mails that one network (an IPv4 address, an IPv6 /64; a /48 has four times as many) causes to
    # all addresses: enough for the sign-ups of an office, too few for a campaign.
    limit_mail_network: RateSetting = Rate(60, 3600)
    # Notices of one kind (changed password or address, stolen session, new device) to one address
    # after its limit is spent: nobody can suppress them by using it up.
    limit_mail_notices: RateSetting = Rate(2, 3600)
    # The SMTP server, smtp://user:password@host:587 (STARTTLS) or smtps://…:465. Without it and a
    # folder, no mail is sent and addresses stay unverified.
    smtp_url: Annotated[SecretStr, AfterValidator(_require_mail_server)] | None = None
    # For development: mails are written here as files.
    mail_folder: str | None = None
    mail_from: Annotated[str, Field(max_length=320), AfterValidator(_require_sender)] = (
        "usersync <no-reply@localhost>"
    )
    # The page that the links in mails open; the token follows after the #. Default: PUBLIC_URL/link
    link_url: Annotated[str, Field(max_length=512), AfterValidator(_require_page_url)] | None = None
    # When a new e-mail address takes effect: `confirmed`, once the link mailed to it is opened, or
    # `immediate`. Default: confirmed if mail is configured, else immediate.
    email_change: Literal["confirmed", "immediate"] | None = None
    # How long the former address can undo a change that has taken effect: over a long weekend.
    email_undo_seconds: Annotated[int, Field(ge=3600, le=30 * 86_400)] = 72 * 3600
    # Whether users are notified by mail of sign-ins from a new device or network.
    mail_new_device: bool = False
    # People read their mail within a day; a person who requests a reset waits for it.
    verification_link_seconds: Annotated[int, Field(ge=60)] = 86_400
    reset_link_seconds: Annotated[int, Field(ge=60)] = 1800
    # How long one response to a reconciling replica may take: ten million users take one.
    reconcile_seconds_max: Annotated[float, Field(gt=0)] = 600.0
    # Such responses at once; each keeps a core of the database busy, and one replica needs two.
    reconcile_at_once_max: Annotated[int, Field(ge=2, le=20)] = 4
    # Heartbeats that one service may request.
    limit_heartbeats: RateSetting = Rate(120, 60)

    @property
    def address(self) -> str:
        """The URL of this service for clients and browsers."""
        return self.public_url or public_url(self.issuer)

    @property
    def can_mail(self) -> bool:
        """Whether mail is configured."""
        return self.smtp_url is not None or self.mail_folder is not None

    @property
    def confirms_email_change(self) -> bool:
        """Whether a new address is pending until its link is opened."""
        return self.can_mail and self.email_change != "immediate"

    @model_validator(mode="after")
    def _require_url(self) -> Self:
        try:
            self.address  # noqa: B018 - it raises
        except ValueError as error:
            raise ValueError(
                f"AUTH_PUBLIC_URL: set it, since AUTH_ISSUER is not a URL; it {error}"
            ) from None
        return self

    @model_validator(mode="after")
    def _require_one_transport(self) -> Self:
        if self.smtp_url is not None and self.mail_folder is not None:
            raise ValueError("set AUTH_SMTP_URL or AUTH_MAIL_FOLDER, not both")
        if self.email_change == "confirmed" and not self.can_mail:
            raise ValueError(
                "AUTH_EMAIL_CHANGE=confirmed needs mail: set AUTH_SMTP_URL or AUTH_MAIL_FOLDER, or"
                " AUTH_EMAIL_CHANGE=immediate"
            )
        return self


class RelaySettings(BrokerSettings, StatusSettings):
    """``auth-service relay``."""

    needs_own_session: ClassVar[bool] = True

    amqp_url: AmqpUrls
    # Publish one by one through the client library instead of in bulk: ten times slower, in case
    # the fast path misbehaves.
    amqp_plain: bool = False
    issuer: Issuer
    host: str = "127.0.0.1"
    # Health and metrics of the relay.
    relay_port: Port = 8011
    # Events claimed and written at once, and so the most that are unconfirmed; the database works
    # best from 500 rows a statement.
    relay_batch_size: Annotated[int, Field(ge=1, le=5_000)] = 1_000
    # A healthy broker confirms within milliseconds; after this the connection is closed.
    publish_timeout_seconds: Annotated[float, Field(gt=0)] = 10.0
    # The longest pause between two attempts while the broker or database is unavailable.
    retry_seconds_max: Annotated[float, Field(gt=0)] = 5.0
    # Events of a replay that are read and published at once.
    replay_batch_size: Annotated[int, Field(ge=1, le=5_000)] = 500
    # Queues of consuming services whose depth is shown to operators, even without a consumer.
    watched_queues: QueueNames = ()
    # Published events older than this are deleted once an hour; never if unset.
    outbox_keep_days: Annotated[int, Field(ge=1)] | None = None
