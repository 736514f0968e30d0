"""Settings of a process that connects to the broker, a base for its settings."""

from typing import Annotated

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from service_kit.process.address_passwords import with_password
from service_kit.process.broker_addresses import split_addresses
from service_kit.process.setting_types import AmqpUrls
from service_kit.process.settings import ServiceSettings


class BrokerSettings(ServiceSettings):
    """The addresses of a virtual host, and the password of the account there."""

    # The password for those addresses that have none, so that only this has to be kept secret.
    amqp_password: Annotated[SecretStr, Field(min_length=1, max_length=1024)] | None = None
    amqp_url: AmqpUrls | None

    @field_validator("amqp_url")
    @classmethod
    def _with_broker_password(cls, urls: str | None, info: ValidationInfo) -> str | None:
        password = info.data.get("amqp_password")
        if urls is None or password is None:
            return urls
        secret = password.get_secret_value()
        return " ".join(with_password(each, secret) for each in split_addresses(urls))
