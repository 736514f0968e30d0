"""``make demo`` restores the system when it is interrupted."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from local import processes
from local.demo import kept_running
from local.processes import BackgroundProcess

FOREVER = ("python", "-c", "import signal; signal.pause()")


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
