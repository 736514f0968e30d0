"""`make down` leaves nothing running that the fault injector starts as it ends."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from local.pids import StartedProcess
from tests.support.checkouts import copied
from tests.support.local_addresses import ADDRESSES
from tests.support.programs import python

INJECTOR = """
import os, signal, sys
from pathlib import Path
from local.pids import StartedProcess

def start_the_consumer(*_):
    with open(os.devnull, "wb") as log:
        consumer = StartedProcess.start(["sleep", "300"], os.environ, Path(), log)
    consumer.save(Path(sys.argv[1]))
    sys.exit()

signal.signal(signal.SIGTERM, start_the_consumer)
print("running", flush=True)
while True:
    signal.pause()
"""
"""Ends like the injector after "Kill the consumer"."""


def test_what_the_injector_starts_as_it_ends_is_stopped_too(tmp_path: Path) -> None:
    checkout = copied(tmp_path / "checkout")
    run = checkout / ".local" / "run"
    run.mkdir(parents=True)
    system = asdict(ADDRESSES) | {"checkout": str(checkout)}
    (run.parent / "system.json").write_text(json.dumps(system))
    consumer = run / "consumer.json"
    command = [sys.executable, "-c", INJECTOR, str(consumer)]
    with subprocess.Popen(command, cwd=checkout, stdout=subprocess.PIPE, text=True) as injector:
        try:
            assert injector.stdout is not None
            assert injector.stdout.readline() == "running\n"
            StartedProcess.of(injector.pid).save(run / "faults.json")
            done = python("-m", "local", "down", cwd=checkout, env=os.environ)
        finally:
            injector.kill()
    assert done.returncode == 0, done.stderr
    started = StartedProcess.load(consumer)
    assert started is not None
    is_left = started.is_running()
    started.kill()
    assert not is_left, done.stderr
