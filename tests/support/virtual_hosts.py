"""Create a virtual host for each test that needs one."""

from local.broker import Broker
from local.paths import CHECKOUT
from tests.support.broker_accounts import create_vhost, delete_accounts
from tests.support.supply import Supply

SPARE = 1


class VirtualHosts(Supply):
    """The virtual hosts of one test worker."""

    def __init__(self, broker: Broker, worker: str) -> None:
        prefix = f"test-{CHECKOUT}-{worker}-"
        for found in broker._call("GET", "vhosts?columns=name"):
            if found["name"].startswith(prefix):  # left by a killed run
                broker.delete_vhost(found["name"])

        def create(number: int) -> str:
            name = f"{prefix}{number}"
            create_vhost(broker, name)
            return name

        super().__init__(create, broker.delete_vhost, spare=SPARE)
        self._broker = broker

    def close(self) -> None:
        super().close()
        delete_accounts(self._broker)
