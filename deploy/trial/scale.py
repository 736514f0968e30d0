"""Two containers of each API behind the proxy: under load one stops, and the other gets slow."""

import json
import subprocess
import threading
import time
from collections import Counter
from subprocess import DEVNULL

from deploy.trial.containers import AUTH_PORT, BLOG_PORT, Containers, require
from deploy.trial.people import ask, follow_an_event, require_agreement, try_sign_up

TWO = ("--scale=auth-api=2", "--scale=blog-api=2")

QUOTA = 20
"""Sign-ins that one network may try in a minute."""

SLOW_CPUS = "0.02"
"""What is left of a core for each remaining API: both are as slow as on an overloaded machine."""

SLOW_SECONDS = 15
"""Longer than the proxy looks for another container."""

_SERVED = """
import http.client, re, sys
c = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]))
c.request('GET', '/metrics')
print(sum(float(n) for n in re.findall(
    r'^http_requests_total\\{.*?\\} (\\S+)$', c.getresponse().read().decode(), re.M)))
"""

_TRY_AS_ANOTHER_CLIENT = """
import http.client
c = http.client.HTTPConnection('proxy', 8001)
c.request('POST', '/v1/signin', '{"email": "other@example.org", "password": "of no account"}',
    {'Content-Type': 'application/json'})
print(c.getresponse().status)
"""


def run(containers: Containers) -> None:
    """Scale both APIs to two, look at who serves, and stop one of each under load."""
    containers.settings["AUTH_LIMIT_SIGNIN"] = f"{QUOTA}/60"
    containers.start(*TWO)
    follow_an_event(containers)
    _look_at_addresses(containers)
    _stop_one_of_each(containers)
    containers.bring_up(*TWO)
    follow_an_event(containers)
    require_agreement(containers)


def _look_at_addresses(containers: Containers) -> None:
    """A client cannot choose its address, and others do not share its limits."""
    statuses = [
        ask(
            AUTH_PORT,
            "POST",
            "/v1/signin",
            {"email": f"{number}@example.org", "password": "of no account"},
            headers={"X-Forwarded-For": f"203.0.113.{number}"},
        ).status
        for number in range(2 * QUOTA)
    ]
    containers.say(f"responses to one client with forged addresses: {Counter(statuses)}")
    require(429 in statuses, "forged addresses get around a limit")
    other = containers.compose(
        *("exec", "--no-TTY", "blog-api", "python", "-c", _TRY_AS_ANOTHER_CLIENT)
    )
    require(other.strip() == "401", f"another client shares the limit: {other}")


def _stop_one_of_each(containers: Containers) -> None:
    failed: list[str] = []
    served = Counter[str]()
    ends = threading.Event()

    def go_on() -> None:
        while not ends.is_set():
            for port, path in ((AUTH_PORT, "/.well-known/jwks.json"), (BLOG_PORT, "/v1/posts")):
                answer = ask(port, "GET", path)
                served[path] += 1
                if answer.status != 200:
                    failed.append(f"{path}: {answer}")
            signed_up = try_sign_up()
            served["/v1/signup"] += 1
            if not hasattr(signed_up, "token"):
                failed.append(f"/v1/signup: {signed_up}")

    clients = [threading.Thread(target=go_on) for _ in range(8)]
    for client in clients:
        client.start()
    time.sleep(3)
    for service, port in (("auth-api", 8001), ("blog-api", 8002)):
        for index in ("1", "2"):
            count = containers.compose(
                *("exec", "--no-TTY", f"--index={index}", service),
                *("python", "-c", _SERVED, str(port)),
            )
            containers.say(f"{service} {index} served {count.strip()} requests")
            require(float(count) > 10, f"{service} {index} gets no requests")
        listed = containers.compose("ps", "--format=json", service).splitlines()
        name = json.loads(listed[0])["Name"]
        subprocess.run(["docker", "stop", name], check=True, capture_output=True)
        containers.say(f"{name} is stopped")
    _let_the_others_be_slow(containers)
    time.sleep(3)
    ends.set()
    for client in clients:
        client.join()
    containers.say(f"{sum(served.values())} requests meanwhile, {len(failed)} failed")
    require(not failed, f"requests failed: {failed[:5]}")


def _let_the_others_be_slow(containers: Containers) -> None:
    """They answer readiness late, and must stay: nobody else is left."""
    left = containers.compose("ps", "--quiet", "auth-api", "blog-api").split()
    containers.say("the others are slow")
    subprocess.run(["docker", "update", f"--cpus={SLOW_CPUS}", *left], check=True, stdout=DEVNULL)
    time.sleep(SLOW_SECONDS)
    subprocess.run(["docker", "update", "--cpus=1", *left], check=True, stdout=DEVNULL)
