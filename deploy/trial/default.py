"""What ``docker compose up`` starts: an event, TLS at the proxy, and a crash of every process."""

import ssl

from deploy.trial.containers import AUTH_PORT, BLOG_PORT, HTTPS_PORT, Containers, require
from deploy.trial.people import ask, follow_an_event, is_known, require_agreement, sign_up

OURS = ("auth-api", "auth-relay", "blog-api", "blog-consumer")

ASKED_AGAIN_SECONDS = 60
"""How long the blog may use a token; then it needs its key again."""

_LET_KEYS_AGE = """
UPDATE api_keys SET
    created_at = created_at - interval '61 days', expires_at = expires_at - interval '61 days'
"""
_NEW_KEYS_IN_USE = """
SELECT count(*) FROM api_keys
WHERE expires_at > now() + interval '60 days' AND last_used_at IS NOT NULL
"""
_END_OLD_KEYS = """
UPDATE api_keys SET expires_at = now() WHERE expires_at <= now() + interval '60 days'
"""

_QUEUES_SEEN = "SELECT count(*) FROM queues WHERE messages IS NOT NULL"


def run(containers: Containers) -> None:
    """Start, follow an event, kill all processes and servers one after the other, and compare."""
    containers.settings["AUTH_SERVICE_TOKEN_SECONDS"] = str(ASKED_AGAIN_SECONDS)
    containers.start()
    follow_an_event(containers)
    _look_at_the_proxy(containers)
    _look_at_the_passwords(containers)
    _let_the_key_be_renewed(containers)

    containers.compose("kill", "auth-relay", "blog-consumer")
    waiting = sign_up()
    containers.compose("start", "auth-relay", "blog-consumer")
    containers.wait("known after a crash of relay and consumer", lambda: is_known(waiting))

    containers.wait(
        "the relay sees both queues", lambda: containers.sql("auth", _QUEUES_SEEN) == "2"
    )
    containers.compose("kill", "rabbitmq")
    waiting = sign_up()
    containers.bring_up()
    containers.wait("known after a crash of RabbitMQ", lambda: is_known(waiting))

    containers.compose("kill", "postgres")
    containers.bring_up()
    follow_an_event(containers)
    containers.compose("restart", *OURS)
    containers.bring_up()
    follow_an_event(containers)
    require_agreement(containers)


def _look_at_the_proxy(containers: Containers) -> None:
    page = ask(BLOG_PORT, "GET", "/")
    require(page.status == 200 and "<html" in page.body, f"no page: {page.status}")
    for port in (AUTH_PORT, BLOG_PORT):
        require(ask(port, "GET", "/metrics").status == 404, "strangers see the metrics")
    authority = containers.compose(
        *("exec", "--no-TTY", "proxy", "cat", "/data/caddy/pki/authorities/local/root.crt")
    )
    tls = ssl.create_default_context(cadata=authority)
    for host in ("auth.localhost", "blog.localhost"):
        ready = ask(HTTPS_PORT, "GET", "/readyz", tls=tls, host=host)
        require(ready.status == 200, f"{host}: {ready}")
    containers.say("the page is served, and both APIs with TLS; the metrics are not")


def _look_at_the_passwords(containers: Containers) -> None:
    """No container's environment has one, and no process another one's."""
    passwords = {path.name: path.read_text() for path in (containers.folder / "secrets").iterdir()}
    for service in (*OURS, "postgres", "rabbitmq"):
        shown = containers.compose("exec", "--no-TTY", service, "env")
        found = [name for name, password in passwords.items() if password in shown]
        require(not found, f"the environment of {service} has the password of {found}")
    listed = containers.compose("exec", "--no-TTY", "auth-relay", "ls", "/run/secrets").split()
    require(listed == ["postgres-auth-relay", "rabbitmq-auth-relay"], f"auth-relay has {listed}")
    containers.say("no password is in an environment")


def _let_the_key_be_renewed(containers: Containers) -> None:
    """The blog goes on with the successor of its API key, which nobody brought to it."""
    containers.sql("auth", _LET_KEYS_AGE)
    containers.compose("restart", "blog-account")
    containers.wait(
        "the blog uses a new API key", lambda: containers.sql("auth", _NEW_KEYS_IN_USE) == "1"
    )
    containers.sql("auth", _END_OLD_KEYS)
