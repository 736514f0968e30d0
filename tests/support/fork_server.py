"""Import a service once, and fork a process for each of its commands.

Importing SQLAlchemy, FastAPI and the service takes up to two seconds of CPU time, and the tests
start hundreds of processes; a fork has them loaded. Everything else is as in a normal process: the
installed script runs from its first line; arguments, environment, working directory, standard
streams, signals, ``kill -9`` and exit codes are its own.

The installed programs are tested by ``tests/end_to_end/test_programs.py``, and as a reader starts
them by ``test_guide.py``.
"""

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
from contextlib import suppress
from typing import Any

MODULES = {
    "alembic": ("alembic.config", "sqlalchemy.dialects.postgresql.asyncpg"),
    "auth-service": ("auth_service.app", "auth_service.cli", "auth_service.relay_process"),
    "blog-service": ("blog_service.app", "blog_service.cli", "replica.consume"),
}
"""What the commands of these programs import when they run; other programs load nothing early."""

LATE_LIBRARIES = ("rich.progress", "typer.rich_utils", "uvicorn.protocols.http.httptools_impl")

STREAMS = 3


def forked(control: socket.socket) -> str:
    """Fork for each request, and return in the child, with the path of the script to run.

    A request is one byte with four file descriptors: the three standard streams, and one end of a
    channel. The child reads its order from the channel, as JSON. The server writes the process id
    and, when the process has ended, the exit code to it, one line each.
    """
    channels: dict[int, socket.socket] = {}
    woken, wake = socket.socketpair()
    for end in (woken, wake):
        end.setblocking(False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for the tests, which end their processes
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno())
    gc.freeze()
    while True:
        readable, _, _ = select.select([control, woken], [], [])
        if woken in readable:
            woken.recv(4096)
            _report(channels)
        if control in readable:
            byte, descriptors, _, _ = socket.recv_fds(control, 1, STREAMS + 1)
            if not byte:
                os._exit(0)  # the tests have ended
            channel = socket.socket(fileno=descriptors.pop())
            if not (process_id := os.fork()):
                for other in (control, woken, wake, *channels.values()):
                    other.close()
                return _become(channel, descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            channels[process_id] = channel
            channel.sendall(b"%d\n" % process_id)


def _report(channels: dict[int, socket.socket]) -> None:
    while channels:
        process_id, status = os.waitpid(-1, os.WNOHANG)
        if not process_id:
            return
        with channels.pop(process_id) as channel, suppress(OSError):  # the test may no longer wait
            channel.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))


def _become(channel: socket.socket, descriptors: list[int]) -> str:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with channel, channel.makefile() as lines:
        order: dict[str, Any] = json.loads(lines.readline())
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if order["session"]:
        os.setsid()
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    # These objects were created for the server's streams, and only their buffering differs.
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]
    sys.argv = order["command"]
    sys.path[0] = os.path.dirname(sys.argv[0])  # noqa: PTH120, as Python does for a script
    return sys.argv[0]


if __name__ == "__main__":
    for module in (*MODULES.get(sys.argv[2], ()), *LATE_LIBRARIES):
        importlib.import_module(module)
    script = forked(socket.socket(fileno=int(sys.argv[1])))
    runpy.run_path(script, run_name="__main__")
