"""Write down the start and the end of every git process of the product, as the kernel sees them.

Each git process holds a connection to the recorder (see git_wrapper.py). A start is written before git
runs; before it, every process that has already ended gets its end. So at each start the processes that are
open in the log were really alive, and no SIGKILL can hide an end.

In a test:      with Recorder(log) as recorder: environment["MIRRORING_GIT"] = str(recorder.git)
As a process:   python -m tests.verify.recorder --log FILE, which prints one line {"git": LAUNCHER} and ends
when its standard input does.
"""

import argparse
import itertools
import json
import os
import select
import shlex
import shutil
import socket
import struct
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TextIO

WRAPPER = Path(__file__).with_name("git_wrapper.py")
LARGEST_MESSAGE = 65_536
GONE = select.POLLRDHUP | select.POLLHUP | select.POLLERR


@dataclass
class _Process:
    connection: socket.socket
    number: int = 0  # 0 until it has said what it is


class Recorder:
    """The log, the socket and the launcher to give to the product as its git."""

    def __init__(self, log: Path, *, git: str = "git") -> None:
        # A short path of our own: a unix socket's name must fit into 107 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="rec-", dir="/tmp"))
        self.socket = self._folder / "sock"
        self.git = write_launcher(self._folder / "git", socket=self.socket, git=git)
        self._log: TextIO = log.open("a", encoding="utf-8")
        self._numbers = itertools.count(1)
        self._processes: dict[int, _Process] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(self.socket))
        self._listener.listen(512)
        self._stop_read, self._stop_write = os.pipe()
        self._thread = threading.Thread(target=self.run, args=(self._stop_read,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        os.write(self._stop_write, b"x")
        self._thread.join()
        os.close(self._stop_read)
        os.close(self._stop_write)

    def run(self, stop: int) -> None:
        """Record until `stop` becomes readable."""
        poller = select.epoll()
        poller.register(self._listener, select.EPOLLIN)
        poller.register(stop, select.EPOLLIN | select.EPOLLHUP)
        while True:
            ready = [descriptor for descriptor, _ in poller.poll()]
            if stop in ready:
                break
            for descriptor in ready:
                if descriptor == self._listener.fileno():
                    self._accept(poller)
                elif descriptor in self._processes:
                    self._read(descriptor)
        poller.close()
        self._close()

    def _accept(self, poller: select.epoll) -> None:
        connection, _ = self._listener.accept()
        self._processes[connection.fileno()] = _Process(connection)
        poller.register(connection, select.EPOLLIN | select.EPOLLRDHUP)

    def _read(self, descriptor: int) -> None:
        process = self._processes[descriptor]
        try:
            message = process.connection.recv(LARGEST_MESSAGE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionError:
            message = b""
        if not message:
            self._end(descriptor)
            return
        self._end_the_dead()
        process.number = next(self._numbers)
        self._write("start", process.number, **_announced(message), peer=_peer(process.connection))
        try:
            process.connection.send(b"!")
        except OSError:
            self._end(descriptor)

    def _end_the_dead(self) -> None:
        poller = select.poll()
        for descriptor, process in self._processes.items():
            if process.number:
                poller.register(descriptor, GONE)
        for descriptor, event in poller.poll(0):
            if event & GONE:
                self._end(descriptor)

    def _end(self, descriptor: int, **fields: object) -> None:
        process = self._processes.pop(descriptor)
        process.connection.close()
        if process.number:
            self._write("end", process.number, **fields)

    def _close(self) -> None:
        for descriptor in list(self._processes):
            self._end(descriptor, alive=True)
        self._listener.close()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _write(self, event: str, number: int, **fields: object) -> None:
        line = {"event": event, "id": number, **fields, "t": time.monotonic(), "wall": time.time()}
        self._log.write(json.dumps(line) + "\n")
        self._log.flush()


def _announced(message: bytes) -> dict[str, object]:
    asked, pid, cwd, git_dir, *argv = message.decode("utf-8", "replace").split("\0")
    return {"asked": float(asked), "pid": int(pid), "cwd": cwd, "git_dir": git_dir, "argv": argv}


def _peer(connection: socket.socket) -> int:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[0])


def write_launcher(path: Path, *, socket: Path, git: str = "git") -> Path:
    """Write an executable that runs git through the wrapper; a shell script: #! lines allow no spaces."""
    real = shutil.which(git)
    if real is None:
        raise FileNotFoundError(f"{git} is not on PATH: install git.")
    python = getattr(sys, "_base_executable", None) or sys.executable
    words = [os.path.realpath(python), "-I", "-S", str(WRAPPER), str(socket), real]
    path.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return path


def main() -> None:
    """Record into a file until standard input ends."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--log", type=Path, required=True)
    recorder = Recorder(parser.parse_args().log)
    print(json.dumps({"git": str(recorder.git), "socket": str(recorder.socket)}), flush=True)
    recorder.run(sys.stdin.fileno())


if __name__ == "__main__":
    main()
