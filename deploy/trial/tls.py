"""TLS to the servers: everything else is refused, by both sides."""

from deploy.trial.containers import Containers, require
from deploy.trial.people import follow_an_event, require_agreement

_PLAIN = "postgresql://blog_operator@postgres/blog?sslmode=disable"
_UNKNOWN = "postgresql://blog_operator@postgres/blog?sslmode=verify-full&sslrootcert=system"

_BROKER = "blog-consumer@rabbitmq/usersync"

_IN_CLEAR = """
SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
WHERE client_addr IS NOT NULL AND NOT ssl
"""
_ENCRYPTED = _IN_CLEAR.replace("NOT ssl", "ssl")


def run(containers: Containers) -> None:
    """Start, follow an event, and try without TLS, and with an authority that is not the one."""
    containers.start()
    follow_an_event(containers)

    encrypted, clear = (containers.sql("postgres", each) for each in (_ENCRYPTED, _IN_CLEAR))
    containers.say(f"sessions of PostgreSQL: {encrypted} encrypted, {clear} not")
    require(int(encrypted) > 4 and clear == "0", "sessions are not encrypted")
    listeners = containers.compose(
        *("exec", "--no-TTY", "rabbitmq", "rabbitmq-diagnostics", "--quiet", "listeners")
    )
    require("amqp/ssl" in listeners, "RabbitMQ has no TLS")
    require("protocol: amqp," not in listeners, "RabbitMQ listens without TLS")

    status = ("blog-service", "status")
    # A consumer says why it waits for the broker.
    consumer = ("timeout", "8", "blog-service", "consumer")
    for setting, url, command, said in (
        ("BLOG_DATABASE_URL", _PLAIN, status, "no encryption"),
        ("BLOG_DATABASE_URL", _UNKNOWN, status, "not from an authority that we trust"),
        ("BLOG_AMQP_URL", f"amqps://{_BROKER}", consumer, "not from an authority that we trust"),
        ("BLOG_AMQP_URL", f"amqp://{_BROKER}", consumer, "broker_away"),
    ):
        ended = containers.try_compose(
            *("run", "--rm", "--no-TTY", f"--env={setting}={url}", "operator", *command)
        )
        shown = " ".join((ended.stdout + ended.stderr).split())
        require(said in shown, f"{url}: {shown}")
        containers.say(f"{setting.partition('_')[2]} {url.partition('?')[2] or url}: refused")
    require_agreement(containers)
