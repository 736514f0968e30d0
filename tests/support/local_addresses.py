"""The addresses of a system on one machine, which no test starts."""

from typing import Final

from local.addresses import Addresses, Ports

ADDRESSES: Final = Addresses(
    ports=Ports(),
    issuer="http://127.0.0.1:8001",
    auth_database_url="postgresql+asyncpg://auth@/auth?host=/a folder/postgres",
    blog_database_url="postgresql+asyncpg://blog@/blog?host=/a folder/postgres",
    auth_amqp_url="amqp://guest:guest@127.0.0.1:1/usersync-0123abcd",
    blog_amqp_url="amqp://guest:guest@127.0.0.1:1/usersync-0123abcd",
)
