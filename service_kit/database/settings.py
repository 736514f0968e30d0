"""Settings of a service's database, a base for the settings of its processes."""

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator

from service_kit.database import address
from service_kit.process.address_passwords import with_password
from service_kit.process.settings import ServiceSettings

DatabaseUrl = Annotated[str, AfterValidator(address.checked)]
"""The address of a PostgreSQL database, always with the asyncpg driver."""


class MigrationSettings(ServiceSettings):
    """A mixin for the settings of a service's migrations.

    A service's own subclass sets the default of ``database_roles``.
    """

    # The address for the migrations, as the owner of the tables. Default: that of the processes.
    migrations_database_url: DatabaseUrl | None = None
    # Prefix of the roles that get their rights from the migrations; those that exist.
    database_roles: Annotated[str, Field(min_length=1, max_length=40)]


class DatabaseSettings(ServiceSettings):
    """The address of a database, and the limits of requests to it.

    A service's own subclass sets its prefix and ``application_name``, the name of its command.
    ``is_api``: whether the process works through a pooler; others use ``database_direct_url`` if it
    is set. ``needs_own_session``: whether it cannot work through one.
    """

    application_name: ClassVar[str]

    is_api: ClassVar[bool] = False
    needs_own_session: ClassVar[bool] = False

    # The password for the addresses that have none, so that only this has to be kept secret.
    database_password: Annotated[SecretStr, Field(min_length=1, max_length=1024)] | None = None
    # PostgreSQL's own address, if the other one leads to a pooler such as pgbouncer: for everything
    # but the APIs, which need no session beyond a transaction.
    database_direct_url: DatabaseUrl | None = None
    database_url: DatabaseUrl
    # Requests beyond that wait for a connection; PostgreSQL slows down when given more at once.
    database_connections_max: Annotated[int, Field(ge=1, le=100)] = 10
    # A statement on the request path takes milliseconds; longer means a lock or a sick database.
    statement_timeout_ms: Annotated[int, Field(ge=100)] = 5_000
    lock_timeout_ms: Annotated[int, Field(ge=100)] = 2_000
    # The schema of the tables; the role's search_path is not used.
    database_schema: Annotated[str, Field(min_length=1, max_length=63)] = "public"

    @field_validator("database_direct_url", "database_url")
    @classmethod
    def _with_database_password(cls, url: str | None, info: ValidationInfo) -> str | None:
        password = info.data.get("database_password")
        if url is None or password is None:
            return url
        return with_password(url, password.get_secret_value())

    @field_validator("database_url")
    @classmethod
    def _or_directly(cls, url: str, info: ValidationInfo) -> str:
        return url if cls.is_api else info.data.get("database_direct_url") or url
