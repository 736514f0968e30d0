"""Run the reverse proxies of `docs/deploy-behind-a-proxy.md` with its configurations."""

import os
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx

from auth_service.settings import ApiSettings
from local.debian_programs import debian_program
from tests.support.tls import self_signed

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "deploy-behind-a-proxy.md"

PROXIES: Final = ("nginx", "haproxy", "caddy")

COMPOSE = "compose"
"""The name here of docker-compose.yml's proxy, which is Caddy with another configuration."""

ADDRESS = "127.0.0.2"
"""The clients' address, which differs from the proxy's."""

READY_SECONDS_MAX = 20

_DELAY_SECONDS = ApiSettings.model_fields["shutdown_delay_seconds"].default

DRAINING: Final = {
    "AUTH_SHUTDOWN_DELAY_SECONDS": _DELAY_SECONDS,
    "BLOG_SHUTDOWN_DELAY_SECONDS": _DELAY_SECONDS,
    "AUTH_TRUSTED_PROXIES": "127.0.0.1",
    "BLOG_TRUSTED_PROXIES": "127.0.0.1",
}
"""Settings of processes that a proxy notices before they end, as they are shipped."""

_PLACES = {"auth": (8001, 8003), "blog": (8002, 8004)}
"""The ports of both instances of each service, as the guide writes them."""

_SHARING = {
    "nginx": (
        (
            'proxy_set_header    Connection "";',
            "proxy_set_header Connection $http_connection;\n"
            "proxy_set_header Upgrade $http_upgrade;\nproxy_request_buffering off;",
        ),
    ),
    "haproxy": (("    option forwardfor", "    option forwardfor\n    http-reuse always"),),
    "caddy": (),
}
"""What makes it easy for one client to get another one's response."""


class Proxy:
    """A running proxy in front of both services, each under its host name."""

    def __init__(self, port: int, certificate: Path) -> None:
        self._port = port
        self._certificate = certificate

    def connect(self, host: str) -> ssl.SSLSocket:
        """Open a TLS connection; calls time out after ten seconds."""
        trust = ssl.create_default_context(cafile=str(self._certificate))
        plain = socket.create_connection(
            ("127.0.0.1", self._port), timeout=10, source_address=(ADDRESS, 0)
        )
        return trust.wrap_socket(plain, server_hostname=host)

    def client(self, host: str) -> httpx.AsyncClient:
        """Return a client of the service with this host name."""

        async def name_host(request: httpx.Request) -> None:
            request.extensions["sni_hostname"] = host

        return httpx.AsyncClient(
            base_url=f"https://127.0.0.1:{self._port}",
            headers={"Host": host},
            verify=ssl.create_default_context(cafile=str(self._certificate)),
            trust_env=False,
            timeout=30,
            event_hooks={"request": [name_host]},
        )


@contextmanager
def proxied(
    name: str, upstreams: Mapping[str, Sequence[int]], folder: Path, *, shares: bool = False
) -> Iterator[Proxy]:
    """Run the proxy ``name`` with the guide's configuration, but other ports and certificates.

    ``COMPOSE`` has the configuration that docker-compose.yml gives it.

    Parameters:
        upstreams: the ports of both instances of ``auth`` and ``blog``.
        shares: also forward ``Upgrade``, do not buffer request bodies, and share connections
            between clients.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    certificate, key = self_signed(folder, ["auth.example.org", "blog.example.org"])
    text = _of_compose() if name == COMPOSE else _of_the_guide(name)
    name = "caddy" if name == COMPOSE else name
    for service, ports in _PLACES.items():
        for written, upstream in zip(ports, upstreams[service], strict=True):
            text = _changed(text, (f"127.0.0.1:{written}", f"127.0.0.1:{upstream}"))
    if shares:
        text = _changed(text, *_SHARING[name])
    made = {"nginx": _nginx, "haproxy": _haproxy, "caddy": _caddy}[name]
    configuration = folder / f"{name}.conf"
    arguments = made(text, configuration, port, certificate, key)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [debian_program(name), *arguments],
            cwd=folder,
            env=os.environ
            | {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)},
            stdout=log,
            stderr=log,
        )
    try:
        _wait(process, port, folder / "log")
        yield Proxy(port, certificate)
    finally:
        process.terminate()
        process.wait(READY_SECONDS_MAX)


def _of_the_guide(name: str) -> str:
    found = re.search(rf"```{name}\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert found is not None, name
    return found[1]


def _of_compose() -> str:
    """The proxy's configuration, with two instances and names as the guide has them."""
    text = (ROOT / "deploy/proxy/Caddyfile").read_text()
    text = text[text.index("\n(") :]  # without the global options
    for service, ports in _PLACES.items():
        site = f"http://:{ports[0]}, https://{{$SITE_{service.upper()}}}"
        named = [(f"{{$PROJECT}}-{service}-api-{n}:{ports[0]}", n) for n in (1, 2, 3, 4)]
        upstreams = [f"127.0.0.1:{port}" for port in ports] + ["", ""]
        text = _changed(
            text,
            (site, f"{service}.example.org"),
            *((name, upstreams[number - 1]) for name, number in named),
        )
    return re.sub(r"^\t\tto +$\n", "", text, flags=re.MULTILINE)


def _changed(text: str, *changes: tuple[str, str]) -> str:
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


def _nginx(text: str, file: Path, port: int, certificate: Path, key: Path) -> Sequence[str]:
    text = _changed(
        text,
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/ssl/example.org/fullchain.pem", str(certificate)),
        ("/etc/ssl/example.org/privkey.pem", str(key)),
    )
    user = "user root;\n" if os.geteuid() == 0 else ""
    places = "".join(
        f"{kind}_temp_path {file.parent}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    file.write_text(
        f"{user}daemon off;\nworker_processes 1;\npid {file.parent}/pid;\nerror_log stderr;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{places}{text}}}\n"
    )
    return ["-p", str(file.parent), "-e", "stderr", "-c", str(file)]


def _haproxy(text: str, file: Path, port: int, certificate: Path, key: Path) -> Sequence[str]:
    both = file.with_suffix(".pem")
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    text = _changed(
        text,
        ("bind :443", f"bind 127.0.0.1:{port}"),
        ("/etc/haproxy/example.org.pem", str(both)),
    )
    file.write_text(f"global\n    nbthread 1\n    maxconn 100\n{text}")
    return ["-f", str(file)]


def _caddy(text: str, file: Path, port: int, certificate: Path, key: Path) -> Sequence[str]:
    text = re.sub(
        r"^(\w+\.example\.org) \{$",
        rf"\1:{port} {{\n    bind 127.0.0.1\n    tls {certificate} {key}",
        text,
        flags=re.MULTILINE,
    )
    file.write_text(f"{{\n    admin off\n    auto_https off\n}}\n{text}")
    return ["run", "--adapter", "caddyfile", "--config", str(file)]


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS_MAX
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.01)
        else:
            return
