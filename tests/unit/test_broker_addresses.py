"""A setting has one or more addresses of a broker, separated by blanks."""

import pytest

from service_kit.process.broker_addresses import checked, split_addresses

ONE = "amqp://u:hunter2@a/v"
TWO = "amqps://u:hunter2@b:5671/v?heartbeat=5"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (ONE, (ONE,)),
        (f"{ONE} {TWO}", (ONE, TWO)),
        (f"{ONE}   {TWO} {ONE}", (ONE, TWO, ONE)),
        ("amqp://u:p,w@a/v,x", ("amqp://u:p,w@a/v,x",)),
        ("amqp://", ("amqp://",)),
    ],
)
def test_addresses_are_separated_by_blanks(given: str, found: tuple[str, ...]) -> None:
    assert split_addresses(checked(given)) == found


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "must be the address of a RabbitMQ virtual host"),
        ("amqp://u:hunter2@a,b/v", "must name one host: separate addresses by blanks"),
        ("amqp://u:hunter2@a:5672,b:5672/v", "must name one host: separate addresses by blanks"),
        (f"{ONE},{TWO}", "must name one host: separate addresses by blanks"),
        (f"{ONE} http://hunter2", "address 2 of 2 must be the address of a RabbitMQ virtual host"),
        (f"amqp://u:hunter2@a:port/v {ONE}", "address 1 of 2 must be the address of a RabbitMQ"),
        ("amqp://u:my hunter2@a/v", "address 1 of 2 must be .* is written %20"),
    ],
)
def test_what_is_no_address_is_refused_by_its_number(given: str, said: str) -> None:
    """The message never repeats an address, which has a password."""
    with pytest.raises(ValueError, match=said) as refused:
        checked(given)
    assert "hunter2" not in str(refused.value)
