"""People who sign up at one service and are known to the other, over HTTP."""

import http
import http.client
import json
import secrets
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Any

from deploy.trial.containers import AUTH_PORT, BLOG_PORT, Containers, Failed

ANSWER_SECONDS_MAX = 60
"""Some trials make a container slow on purpose."""

FOUND_SECONDS_MAX = 10
"""The proxy looks every two seconds for containers that started; until then it answers 503."""


@dataclass(frozen=True)
class Answer:
    """The answer to a request; ``status`` is 0 if there was none."""

    status: int
    body: Any = None


@dataclass(frozen=True)
class Person:
    """A user who signed up."""

    id: str
    email: str
    token: str


def ask(
    port: int,
    method: str,
    path: str,
    body: Any = None,
    *,
    headers: dict[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
) -> Answer:
    """Send one request to this machine, by TLS for ``host`` if there is a context."""
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_SECONDS_MAX)
    try:
        plain = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS_MAX)
        connection.sock = tls.wrap_socket(plain, server_hostname=host) if tls else plain
        content = body if body is None or isinstance(body, str) else json.dumps(body)
        sent = {"Content-Type": "application/json"} | (headers or {})
        connection.request(method, path, content, sent)
        response = connection.getresponse()
        text = response.read()
        is_json = "json" in (response.getheader("Content-Type") or "")
        return Answer(response.status, json.loads(text) if is_json and text else text.decode())
    except (OSError, http.client.HTTPException) as error:
        return Answer(0, repr(error))
    finally:
        connection.close()


def try_sign_up() -> Person | Answer:
    """Sign up, or return why that did not work."""
    email = f"{secrets.token_hex(8)}@example.org"
    answer = ask(
        AUTH_PORT, "POST", "/v1/signup", {"email": email, "password": secrets.token_urlsafe(24)}
    )
    if answer.status != 201:
        return answer
    return Person(answer.body["user"]["id"], email, answer.body["access_token"])


def sign_up() -> Person:
    """Sign up as someone new."""
    until = time.monotonic() + FOUND_SECONDS_MAX
    while isinstance(found := try_sign_up(), Answer):
        if found.status != http.HTTPStatus.SERVICE_UNAVAILABLE or time.monotonic() > until:
            raise Failed(f"signing up: {found}")
        time.sleep(0.1)
    return found


def is_known(person: Person) -> bool:
    """Whether the blog's copy has the person, by an event: it is asked without their token."""
    return ask(BLOG_PORT, "GET", f"/v1/users/{person.id}").status == 200


def follow_an_event(containers: Containers, seconds: float = 30) -> Person:
    """Sign up, and wait until the blog knows the user."""
    person = sign_up()
    containers.wait("who signed up is known to the blog", lambda: is_known(person), seconds)
    return person


def slowest_arrival(containers: Containers, seconds: float) -> float:
    """Let people sign up one after the other; return the longest way to the blog, in seconds."""
    slowest, until, number = 0.0, time.monotonic() + seconds, 0
    while time.monotonic() < until:
        started = time.monotonic()
        person = None
        while not (isinstance(person, Person) and is_known(person)):
            if not isinstance(person, Person):
                person = try_sign_up()
            if time.monotonic() - started > 60:
                raise Failed(f"nobody arrives: {person}")
            time.sleep(0.02)
        slowest, number = max(slowest, time.monotonic() - started), number + 1
    containers.say(f"{number} people, the slowest was known after {slowest:.2f} s")
    return slowest


def require_agreement(containers: Containers, *options: str) -> None:
    """Compare both tables, user by user."""
    verdict = containers.operator("blog-service", "reconcile", *options).strip().splitlines()
    containers.say(verdict[-1])
