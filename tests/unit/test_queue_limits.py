"""Which limits of a queue are stricter than a consumer needs, and where they are asked for."""

from replica.inbox.queue_limits import NEEDED_LIVE, NEEDED_REPLAY, management_url, stricter


def test_limits_that_are_too_strict() -> None:
    """Each limit by which the broker gives a message up, or refuses it."""
    for needed, policy, found in (
        (NEEDED_LIVE, {"delivery-limit": 3}, {"delivery-limit": 3}),
        (NEEDED_LIVE, {"delivery-limit": 1_000, "queue-leader-locator": "balanced"}, {}),
        (NEEDED_LIVE, {"message-ttl": 0, "expires": 5}, {"message-ttl": 0, "expires": 5}),
        (
            NEEDED_LIVE,
            {"max-length": 10, "max-length-bytes": 10},
            {"max-length": 10, "max-length-bytes": 10},
        ),
        (NEEDED_REPLAY, {"max-length": 100_000}, {}),
        (NEEDED_REPLAY, {"max-length": 99_999}, {"max-length": 99_999}),
        (NEEDED_LIVE, {"delivery-limit": "3"}, {}),
        (NEEDED_LIVE, {}, {}),
    ):
        assert stricter(needed, policy) == found, needed


def test_the_management_api_by_default() -> None:
    """Only beside AMQP's usual port: what listens beside another one may be anybody's."""
    for amqp_url, url in (
        ("amqp://user:secret@rabbit/usersync", "http://rabbit:15672"),
        ("amqp://rabbit:5672/", "http://rabbit:15672"),
        ("amqps://rabbit/", "https://rabbit:15671"),
        ("amqps://rabbit:5672/", None),
        ("amqp://rabbit:20000/", None),
        ("amqp://[::1]/", "http://[::1]:15672"),
        ("amqp:///", "http://localhost:15672"),
    ):
        assert management_url(amqp_url) == url, amqp_url
