"""A `datacollect` for shells that need not import the hub anew: it has a warm process fork the command."""

import contextlib
import json
import select
import signal
import socketserver
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.warm import Warm

_LOOK_SECONDS = 0.02
# As small as can be: it only says who asks for what, and ends as the command does.
_COMMAND = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as door:
    door.connect({door!r})
    with door.makefile("rw") as told:
        print(json.dumps([os.getpid(), os.getcwd(), dict(os.environ), sys.argv[1:]]), file=told, flush=True)
        code = int(told.readline())
sys.exit(code)
"""


@contextlib.contextmanager
def forking(warm: Warm) -> Iterator[Path]:
    """A folder for a shell's PATH, with the command in it."""
    with tempfile.TemporaryDirectory() as name:
        folder, door = Path(name), f"{name}/.door"
        command = folder / "datacollect"
        command.write_text(_COMMAND.format(python=sys.executable, door=door))
        command.chmod(0o755)
        with _Door(door, _Asked) as listening:
            listening.warm = warm
            thread = threading.Thread(target=listening.serve_forever, args=(_LOOK_SECONDS,), daemon=True)
            thread.start()
            try:
                yield folder
            finally:
                listening.shutdown()
                thread.join()


class _Door(socketserver.ThreadingUnixStreamServer):
    warm: Warm


class _Asked(socketserver.StreamRequestHandler):
    server: _Door

    def handle(self) -> None:
        """Run one command, with the files of who asks for it, until it ends or whoever asked has been ended."""
        pid, folder, environment, arguments = json.loads(self.rfile.readline())
        files = {name: Path(f"/proc/{pid}/fd/{number}") for number, name in enumerate(("stdin", "stdout", "stderr"))}
        command = self.server.warm.start_with(Path(folder), environment, tuple(arguments), files)
        while (code := command.poll()) is None:
            if select.select([self.connection], [], [], _LOOK_SECONDS)[0]:
                command.send_signal(signal.SIGTERM)
                command.wait()
                return
        self.wfile.write(f"{code}\n".encode())
