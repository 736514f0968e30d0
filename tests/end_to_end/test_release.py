"""A release as its users get it: built from the checkout, installed without it, and run.

``make dist`` builds both files. Dependencies come from the lock, whose hashes pip checks.
"""

import os
import re
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import httpx
import pytest

from local.limits import LIMITS
from local.ports import free_port
from local.postgres_server import PostgresServer
from replica.console import BREAK_IT
from service_kit.process.version import VERSION
from tests.support.auth_api import bearer, signed_up
from tests.support.builders import SOURCE
from tests.support.collector import collecting
from tests.support.databases import ROOT, SERVICES
from tests.support.eventually import eventually
from tests.support.processes import Process, run
from tests.support.programs import ran

BUILD = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
PACKAGES: list[str] = BUILD["targets"]["wheel"]["packages"]
PROGRAMS = ("auth-service", "blog-service")
DATABASE = "test_release_{}"

INSTALL_SECONDS_MAX = 300
"""Some seventy packages; on a machine without a cache each is downloaded."""


@dataclass(frozen=True)
class Release:
    """Both files of a release, the source archive unpacked."""

    wheel: Path
    sources: Path

    def files(self) -> set[str]:
        """The names of the files that the wheel installs as packages."""
        names = zipfile.ZipFile(self.wheel).namelist()
        return {name for name in names if name.partition("/")[0] in PACKAGES}


@dataclass(frozen=True)
class Installed:
    """A virtual environment with the wheel and its locked dependencies, and nothing of ours."""

    bin: Path
    folder: Path
    """Where its programs run; empty."""

    @property
    def environment(self) -> dict[str, str]:
        """The variables of its programs; migrations are found as an operator does it."""
        settings = self.bin.parent / "share/usersync/alembic.ini"
        return {"PATH": str(self.bin), "ALEMBIC_CONFIG": str(settings)}

    def run(self, *command: str, **settings: str) -> CompletedProcess[str]:
        """Run one of its programs, which must succeed."""
        program, *arguments = command
        environment = self.environment | settings
        path = str(self.bin / program)
        ended = ran(path, *arguments, env=environment, cwd=self.folder, timeout=120)
        assert ended.returncode == 0, (command, ended.stdout + ended.stderr)
        return ended

    def made_by(self, *command: str) -> None:
        """Run a command that makes or changes the environment."""
        variables = {key: os.environ[key] for key in os.environ if not key.startswith("PYTHON")}
        ended = ran(*command, env=variables, cwd=self.folder, timeout=INSTALL_SECONDS_MAX)
        assert ended.returncode == 0, ended.stdout + ended.stderr

    def pip(self, *arguments: str) -> None:
        """Install packages."""
        quiet = ("-qq", "--disable-pip-version-check", "--no-compile")
        self.made_by(str(self.bin / "python"), "-m", "pip", "install", *quiet, *arguments)

    def process(self, command: str, **settings: str) -> Process:
        """Return one of its processes, not started."""
        log = self.folder.parent / f"{command.replace(' ', '-')}.log"
        environment = self.environment | settings
        return Process(str(self.bin / command), environment, log, installed=True)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Build the source archive, and the wheel from nothing but what it contains."""
    folder = tmp_path_factory.mktemp("release")
    built = run(f"hatchling build -t sdist -d {folder}", {}, ROOT, installed=True)
    assert built.returncode == 0, built.stderr
    with tarfile.open(folder / f"usersync-{VERSION}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    sources = folder / f"usersync-{VERSION}"
    built = run(f"hatchling build -t wheel -d {folder}", {}, sources, installed=True)
    assert built.returncode == 0, built.stderr
    return Release(folder / f"usersync-{VERSION}-py3-none-any.whl", sources)


@pytest.fixture(scope="module")
def installed(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Install it into a virtual environment of its own."""
    folder = tmp_path_factory.mktemp("installed")
    installed = Installed(folder / "venv/bin", folder / "empty")
    installed.folder.mkdir()
    installed.made_by(sys.executable, "-m", "venv", str(folder / "venv"))
    installed.pip("--require-hashes", "-r", str(release.sources / "requirements.txt"))
    installed.pip("--no-deps", "--no-index", str(release.wheel))
    return installed


@pytest.fixture
def empty_databases(postgres: PostgresServer) -> Iterator[dict[str, str]]:
    """The setting of each service that names a new, empty database."""
    names = {service: DATABASE.format(service) for service in SERVICES}
    for name in names.values():
        postgres.drop_database(name)  # a previous run may have been killed
        postgres.create_database(name)
    yield {f"{service.upper()}_DATABASE_URL": postgres.url(name) for service, name in names.items()}
    for name in names.values():
        postgres.drop_database(name)


def test_the_wheel_has_every_file_of_the_packages(release: Release) -> None:
    """Pages, schemas and migrations too; what is missing fails when it is needed."""
    there = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert release.files() == there
    assert {Path(name).suffix for name in there} >= {".py", ".js", ".css", ".html", ".json"}


def test_the_source_archive_has_what_a_reader_needs_and_nothing_of_this_machine(
    release: Release,
) -> None:
    """Documents, tests and locks; no virtual environment, no data and no setting of ours."""
    there = {path.name for path in release.sources.iterdir()}
    assert there >= {"README.md", "CHANGELOG.md", "LICENSE", "SECURITY.md", "Makefile", "docs"}
    assert there >= {"tests", "requirements.txt", "requirements-otel.txt", "docker-compose.yml"}
    assert not there & {".venv", ".local", ".git", ".env"}


@pytest.mark.slow
@pytest.mark.timeout(2 * INSTALL_SECONDS_MAX)
async def test_an_installed_release_works_without_the_checkout(
    installed: Installed, empty_databases: dict[str, str], private_pem: str, public_pem: str
) -> None:
    """Programs, migrations on real databases, and both APIs with their pages."""
    where = "import auth_service, migrations; print(auth_service.__file__, migrations.__file__)"
    for path in installed.run("python", "-c", where).stdout.split():
        assert path.startswith(str(installed.bin.parent)), path
    installed.run("python", "-m", "pip", "check")

    entry_points = "from importlib.metadata import distribution as found\n"
    entry_points += "print(*(point.name for point in found('usersync').entry_points))"
    assert installed.run("python", "-c", entry_points).stdout.split() == list(PROGRAMS)
    for program in PROGRAMS:
        assert installed.run(program, "--version").stdout == f"usersync {VERSION}\n"
        assert "Usage:" in installed.run(program, "--help").stdout
        assert "Usage:" in installed.run(program, "-h").stdout
    for module in (
        "events.write_schemas",
        "events.write_definitions",
        "conformance.write_vectors",
    ):
        installed.run("python", "-m", f"contracts.{module}", "--check")

    for service in SERVICES:
        installed.run("alembic", "-n", service, "upgrade", "head", **empty_databases)
        installed.run("alembic", "-n", service, "check", **empty_databases)

    ports = {"AUTH_PORT": str(free_port()), "BLOG_PORT": str(free_port())}
    auth_url, blog_url = (f"http://127.0.0.1:{port}" for port in ports.values())
    settings = {
        **empty_databases,
        **ports,
        **LIMITS,
        "AUTH_ISSUER": SOURCE,
        "AUTH_PRIVATE_KEY": private_pem,
        "AUTH_DOCS": "true",
        "BLOG_ISSUER": SOURCE,
        "BLOG_PUBLIC_KEY": public_pem,
        "BLOG_DOCS": "true",
    }
    auth_api = installed.process("auth-service api", **settings)
    blog_api = installed.process("blog-service api", **settings)
    try:
        auth_api.start()
        blog_api.start()
        await auth_api.is_ready(f"{auth_url}/readyz", within=60)
        await blog_api.is_ready(f"{blog_url}/livez", within=60)
        async with httpx.AsyncClient(base_url=auth_url, trust_env=False) as auth:
            ada = await signed_up(auth, "ada@example.org")
            assert_found(await auth.get("/link"))
            assert_found(await auth.get("/docs"))
        async with httpx.AsyncClient(base_url=blog_url, trust_env=False) as blog:
            me = await blog.get("/v1/me", headers=bearer(ada))
            assert me.json()["id"] == ada["user"]["id"]
            assert_found(await blog.get("/docs"))
            for page in ("/", "/console"):
                shown = await blog.get(page)
                assert_found(shown)
                assets = re.findall(r'(?:src|href)="(/[^"#]+)"', shown.text)
                assert assets, page
                # Breaking the system is served only where a setting allows it.
                for asset in set(assets).difference(BREAK_IT):
                    assert_found(await blog.get(asset))
    finally:
        auth_api.kill()
        blog_api.kill()


@pytest.mark.slow
@pytest.mark.timeout(2 * INSTALL_SECONDS_MAX)
async def test_the_lock_of_the_extra_has_what_sends_spans(
    release: Release, installed: Installed, private_pem: str
) -> None:
    """As docs/telemetry.md says; without it, a process that is to send them does not start."""
    settings = {
        "AUTH_DATABASE_URL": "postgresql://auth@127.0.0.1:1/auth",  # no request needs it
        "AUTH_PORT": str(free_port()),
        "AUTH_ISSUER": SOURCE,
        "AUTH_PRIVATE_KEY": private_pem,
    }
    url = f"http://127.0.0.1:{settings['AUTH_PORT']}"
    with collecting() as collector:
        api = installed.process("auth-service api", **settings, **collector.environment)
        api.start()
        assert await api.ended() == 2
        assert "install usersync[otel]" in api.log.read_text()

        installed.pip("--require-hashes", "-r", str(release.sources / "requirements-otel.txt"))
        installed.pip("--no-deps", "--no-index", f"{release.wheel}[otel]")
        installed.run("python", "-m", "pip", "check")
        try:
            api.start()
            await api.is_ready(f"{url}/livez", within=60)
            async with httpx.AsyncClient(base_url=url, trust_env=False) as auth:
                assert (await auth.get("/v1/me")).status_code == 401
            await eventually(lambda: collector.named("GET /v1/me"))
        finally:
            api.kill()


def assert_found(response: httpx.Response) -> None:
    assert response.status_code == 200, (response.request.url, response.text)
