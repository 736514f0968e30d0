"""``make demo``: what it says in the end, and that it restores the system when interrupted."""

import asyncio
import os
import signal
from pathlib import Path
from uuid import uuid4

import pytest

from local import processes
from local.compare import Comparison, Difference
from local.demo.run import kept_running, what_next
from local.processes import BackgroundProcess

FOREVER = ("python", "-c", "import signal; signal.pause()")


def test_the_end_counts_the_living_and_has_the_addresses_of_the_page_and_the_console() -> None:
    difference = Difference(uuid4(), "email", "a", "b")
    assert str(Comparison(1392, 33, [])) == "1,392 users, 0 differ (1,359 living, 33 deleted)"
    assert str(Comparison(2, 0, [difference])) == "2 users, 1 differ (2 living, 0 deleted)"

    said = what_next({"BLOG_URL": "http://127.0.0.1:8002", "AUTH_URL": "http://127.0.0.1:8001"})

    assert "http://127.0.0.1:8002/ " in said
    assert "http://127.0.0.1:8002/console " in said
    assert "http://127.0.0.1:8002/console/break" in said
    assert "create-admin" in said
    assert "README.md" in said


def test_ctrl_c_while_the_consumer_is_killed_starts_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Like any other end of the demonstration; a running consumer is not restarted."""
    monkeypatch.setattr(processes, "_RUN", tmp_path)
    monkeypatch.setattr(processes, "LOGS", tmp_path)
    # A shell that starts the tests in the background has them ignore the signal.
    before_the_test = signal.signal(signal.SIGINT, signal.default_int_handler)
    consumer = BackgroundProcess("consumer", FOREVER, {}, 1)

    async def show() -> None:
        await asyncio.to_thread(consumer.kill)
        assert not consumer.is_running()
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()

    consumer.start()
    try:
        with pytest.raises(KeyboardInterrupt), kept_running(consumer):
            asyncio.run(show())
        assert consumer.is_running()

        before = consumer.pid
        with kept_running(consumer):
            pass
        assert consumer.pid == before
    finally:
        consumer.kill()
        signal.signal(signal.SIGINT, before_the_test)
