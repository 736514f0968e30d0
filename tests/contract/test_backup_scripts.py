"""deploy/backup keeps its promises when dumps fail, are cut off, and when the container restarts.

The scripts run as they are, with other folders and with programs of PostgreSQL that fail on demand.
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.compose import ROOT, SERVICES

DAY = 86_400
KEPT = 3
LONG_ENOUGH = 20.0
"""Seconds after which a script that has not done its work never will."""

PROGRAMS = {
    # Writes half of a dump and fails while there is a file with the name of the database.
    "pg_dump": """
        for last; do case $last in --file=*) file=${last#--file=} ;; esac; done
        echo begin >"$file"
        [ ! -e "$HERE/fail-$last" ] || exit 1
        [ -e "$HERE/cut-$last" ] || echo end >>"$file"
    """,
    "pg_restore": """
        echo "$*" >>"$HERE/restored"
        for last; do :; done
        [ "$1" = --list ] || grep -qx end "$last"
    """,
    "psql": """
        echo "$*" >>"$HERE/sql"
        echo 0
    """,
    "sleep": "exec /bin/sleep 0.01",
}


class Place:
    """A volume of backups, and the programs that the scripts find."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.backups = folder / "backups"
        self.backups.mkdir()
        (folder / "postgres-superuser").write_text("a password")
        (folder / "bin").mkdir()
        for name, text in PROGRAMS.items():
            program = folder / "bin" / name
            program.write_text(f"#!/usr/bin/env bash\n{text}")
            program.chmod(0o755)
        self.environment = {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "HERE": str(folder),
            "BACKUP_EVERY_SECONDS": str(DAY),
            "BACKUPS_KEPT": str(KEPT),
        }

    def here(self, text: str) -> str:
        return text.replace("/backups", str(self.backups)).replace("/run/secrets", str(self.folder))

    def command(self, script: str, *arguments: str) -> list[str]:
        text = self.here((ROOT / "deploy/backup" / script).read_text())
        return ["bash", "-c", text, script, *arguments]

    def run(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(script, *arguments),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=LONG_ENOUGH,
            check=False,
        )

    @contextmanager
    def container(self) -> Iterator[Path]:
        """Run backup.sh as the container does; the file has what it prints. It is stopped then."""
        output = self.folder / "output"
        with output.open("w") as printed:
            process = subprocess.Popen(
                self.command("backup.sh"), env=self.environment, stdout=printed, stderr=printed
            )
            try:
                yield output
                assert process.poll() is None, output.read_text()
            finally:
                process.terminate()
                process.wait(LONG_ENOUGH)

    def add(self, database: str, days_ago: int) -> str:
        """Add a backup of earlier, and return its name."""
        made = time.time() - days_ago * DAY
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(made))
        file = self.backups / f"{database}-{stamp}.dump"
        file.write_text("begin\nend\n")
        os.utime(file, (made, made))
        return file.name

    def of(self, database: str) -> list[str]:
        return sorted(file.name for file in self.backups.glob(f"{database}-*.dump"))

    def parts(self) -> list[Path]:
        return [*self.backups.glob("*.part")]

    def is_healthy(self) -> bool:
        kind, test = SERVICES["backup"]["healthcheck"]["test"]
        assert kind == "CMD-SHELL"
        command = self.here(test.replace("$$", "$"))
        return not subprocess.run(
            ["sh", "-c", command], env=self.environment, check=False
        ).returncode


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG_ENOUGH
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_new_deployment_is_backed_up_and_then_healthy(place: Place) -> None:
    assert not place.is_healthy()
    with place.container():
        wait_until(lambda: bool(place.of("auth")))
    assert len(place.of("blog")) == len(place.of("auth")) == 1
    assert place.is_healthy()


def test_a_failure_costs_no_backup_however_often_the_container_restarts(place: Place) -> None:
    """The dump of the auth database fails; the blog's is made once, and nothing is removed."""
    earlier = {
        database: [place.add(database, days) for days in (4, 3, 2)] for database in ("blog", "auth")
    }
    (place.folder / "fail-auth").touch()
    for _ in range(KEPT + 1):
        with place.container() as output:
            wait_until(lambda: output.read_text().count("a backup failed") >= 2)

    assert place.of("auth") == sorted(earlier["auth"])
    assert set(earlier["blog"]) < set(place.of("blog"))
    assert len(place.of("blog")) == len(earlier["blog"]) + 1
    assert len(place.parts()) <= 1

    (place.folder / "fail-auth").unlink()
    with place.container():
        wait_until(lambda: len({*place.of("auth")} - {*earlier["auth"]}) == 1)
        wait_until(lambda: len(place.of("auth")) == len(place.of("blog")) == KEPT)
    assert not place.parts()


def test_a_dump_that_is_cut_off_is_no_backup(place: Place) -> None:
    """Also if the program that wrote it noticed nothing."""
    (place.folder / "cut-blog").touch()
    assert place.run("backup.sh", "once").returncode != 0
    assert place.of("blog") == place.of("auth") == []


def test_once_makes_a_backup_that_is_not_due(place: Place) -> None:
    for database in ("blog", "auth"):
        (place.backups / place.add(database, 1)).touch()
    (place.backups / "auth-20300101T000000Z.dump.part").touch()
    assert place.run("backup.sh", "once").returncode == 0
    assert len(place.of("blog")) == len(place.of("auth")) == 2
    assert not place.parts()


def test_each_database_needs_a_backup_of_the_last_two_periods(place: Place) -> None:
    place.add("auth", 1)
    place.add("blog", 3)
    assert not place.is_healthy()
    place.add("blog", 1)
    assert place.is_healthy()


@pytest.mark.parametrize("variable", ["BACKUP_EVERY_SECONDS", "BACKUPS_KEPT"])
def test_a_setting_that_would_remove_every_backup_is_refused(place: Place, variable: str) -> None:
    earlier = place.add("blog", 0)
    place.environment[variable] = "0"
    refused = place.run("backup.sh", "once")
    assert refused.returncode == 1
    assert variable in refused.stderr
    assert place.of("blog") == [earlier]


def test_a_backup_that_is_cut_off_does_not_cost_the_database(place: Place) -> None:
    name = place.add("blog", 1)
    (place.backups / name).write_text("begin\n")
    assert place.run("restore.sh", "blog").returncode != 0
    assert not (place.folder / "sql").exists()

    (place.backups / name).write_text("begin\nend\n")
    assert place.run("restore.sh", "blog").returncode == 0
    assert "DROP DATABASE IF EXISTS blog" in (place.folder / "sql").read_text()
    assert "--create" in (place.folder / "restored").read_text().splitlines()[-1]
