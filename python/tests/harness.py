"""Plays the worker's side of spec/child.md against the real fork server and a real app."""

from __future__ import annotations

import array
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import textwrap
import uuid
from pathlib import Path
from typing import Any, Dict, List, Optional, Set, Tuple

SOURCES = Path(__file__).resolve().parent.parent / "celeriac_child"
WAIT = 30.0

RUN, CALL, CANCEL, SOFT, LEAVE = 1, 2, 3, 4, 5
KINDS = {1: "hello", 2: "started", 3: "store", 4: "done", 5: "answer", 6: "fault"}
HEAD = struct.Struct("<BQI")


def sources() -> Dict[str, str]:
    """The modules as the worker sends them."""
    found = {"celeriac_child": (SOURCES / "__init__.py").read_text()}
    for path in SOURCES.glob("*.py"):
        if path.stem not in ("__init__", "boot"):
            found[f"celeriac_child.{path.stem}"] = path.read_text()
    return found


class Server:
    """A fork server, in a folder of its own that has the app's modules."""

    def __init__(self, modules: Dict[str, str], environment: Optional[Dict[str, str]] = None) -> None:
        self.folder = tempfile.TemporaryDirectory()
        for name, text in modules.items():
            path = Path(self.folder.name, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        self.control, far = socket.socketpair()
        self.control.settimeout(WAIT)
        self.log = Path(self.folder.name, "stderr.log")
        variables = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "C_FORCE_ROOT": "1", **(environment or {})}
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [os.environ.get("CELERIAC_TEST_PYTHON", sys.executable), "-c", (SOURCES / "boot.py").read_text()],
                stdin=far.fileno(),
                stdout=log,
                stderr=log,
                cwd=self.folder.name,
                env=variables,
            )
        far.close()
        self.children: Dict[int, "Process"] = {}
        self.gone: List[Dict[str, Any]] = []
        self.known: Set[int] = set()
        self.send({"modules": sources(), "main": "celeriac_child.server"})

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: Any) -> None:
        self.control.close()
        self.process.wait(WAIT)
        for child in self.children.values():
            child.close()
        self.folder.cleanup()

    def send(self, frame: Dict[str, Any], files: Tuple[int, ...] = ()) -> None:
        data = json.dumps(frame).encode()
        data = struct.pack("<I", len(data)) + data
        if files:
            socket.send_fds(self.control, [data[:1]], list(files))
            data = data[1:]
        self.control.sendall(data)

    def receive(self) -> Dict[str, Any]:
        size = struct.unpack("<I", self._exactly(4))[0]
        return json.loads(self._exactly(size))  # type: ignore[no-any-return]

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.control.recv(size - len(data))
            if not part:
                raise EOFError(f"the fork server has gone:\n{self.said()}")
            data += part
        return data

    def said(self) -> str:
        """What came to standard output and error."""
        return self.log.read_text(errors="replace")

    def importing(self, app: str = "proj", **fields: Any) -> Dict[str, Any]:
        """The report, or what failed."""
        wanted = {"do": "import", "version": 1, "app": app, "node": "celery@test", "pool": "prefork", **fields}
        wanted.setdefault("loglevel", "INFO")
        self.send(wanted)
        return self.receive()

    def prepare(self, piped: bool = True, pool: str = "prefork", slots: int = 1) -> None:
        self.send({"do": "prepare", "piped": piped, "pool": pool, "slots": slots})
        assert self.receive() == {"prepared": {}}

    def fork(self, number: int = 1, role: str = "child") -> "Process":
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        near.settimeout(WAIT)
        page = os.memfd_create("page")
        os.ftruncate(page, 4096)
        self.send({"do": "fork", "number": number, "role": role}, (far.fileno(), page))
        forked = self.receive()["forked"]
        assert forked["number"] == number
        child = self.children[number] = Process(self, forked["pid"], near, far, page)
        if role == "child":
            kind, _, payload = child.next()
            assert kind == "hello", (kind, payload, self.said())
        return child

    def exited(self) -> Dict[str, Any]:
        """The next process that is gone."""
        if not self.gone:
            self.gone.append(self.receive()["exited"])
        self.known.add(self.gone[0]["pid"])
        return self.gone.pop(0)

    def knows_gone(self, pid: int) -> bool:
        """Whether this process is gone; reads what the fork server says."""
        if select.select([self.control], [], [], 0.05)[0]:
            try:
                self.gone.append(self.receive()["exited"])
            except EOFError:
                return True
        self.known.update(exited["pid"] for exited in self.gone)
        return pid in self.known


def served(modules: Dict[str, str], piped: bool = True, pool: str = "prefork", slots: int = 1, **fields: Any) -> Server:
    """A fork server that has imported `proj` and may fork."""
    server = Server(modules, fields.pop("environment", None))
    report = server.importing(pool=pool, **fields)
    if "report" not in report:
        server.__exit__()
        raise AssertionError(report["failed"]["traceback"] + report["failed"]["advice"])
    server.report = report["report"]  # type: ignore[attr-defined]
    server.prepare(piped, pool, slots)
    return server


class Process:
    """A child, or the service."""

    def __init__(
        self, server: Server, pid: int, channel: socket.socket, far: socket.socket, page: int
    ) -> None:
        self.server = server
        self.pid = pid
        self.channel = channel
        # Kept, as the worker does, to take back what the process has not read.
        self.far = far
        self.page = page
        self.waiting: List[Tuple[str, int, bytes]] = []
        self.packets = 0
        self.seq = 0

    def close(self) -> None:
        """Goes, as a worker that dies does."""
        self.channel.close()
        self.far.close()
        if self.page >= 0:
            os.close(self.page)
            self.page = -1

    def next(self) -> Tuple[str, int, bytes]:
        """The next record: its kind, its number and its payload."""
        while not self.waiting:
            gone = self.pid in self.server.known
            if not gone and not select.select([self.channel, self.server.control], [], [], WAIT)[0]:
                raise TimeoutError(f"the process says nothing:\n{self.server.said()}")
            if not select.select([self.channel], [], [], 0)[0]:
                # Only the fork server has something to say: that this process is gone, or another.
                if gone or self.server.knows_gone(self.pid):
                    raise EOFError(f"the process has gone:\n{self.server.said()}")
                continue
            data, files, _, _ = socket.recv_fds(self.channel, 1 << 17, 2)
            if not data:
                raise EOFError(f"the child has gone:\n{self.server.said()}")
            self.packets += 1
            if files:
                with open(files[0], "rb") as file:
                    file.seek(0)
                    data = file.read()
            while data:
                kind, seq, size = HEAD.unpack_from(data)
                self.waiting.append((KINDS[kind], seq, data[HEAD.size : HEAD.size + size]))
                data = data[HEAD.size + size :]
        return self.waiting.pop(0)

    def send(self, kind: int, seq: int = 0, payload: bytes = b"") -> None:
        data = HEAD.pack(kind, seq, len(payload)) + payload
        if len(data) <= 64 * 1024:
            self.channel.send(data)
            return
        file = os.memfd_create("packet")
        with open(file, "wb") as stream:
            stream.write(data)
            stream.flush()
            beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file]))]
            self.channel.sendmsg([HEAD.pack(255, 0, 0)], beside)

    def start(self, task: str, *args: Any, **more: Any) -> int:
        """Sends a call on its way; gives its number."""
        self.seq += 1
        self.send(RUN, self.seq, run(task, *args, **more))
        return self.seq

    def run(self, task: str, *args: Any, **more: Any) -> "Outcome":
        """Runs a call to its end."""
        return self.outcome(self.start(task, *args, **more))

    def outcome(self, seq: int) -> "Outcome":
        """Reads on until the call has ended."""
        stored = []
        started = False
        while True:
            kind, number, payload = self.next()
            if number != seq:
                raise AssertionError(f"{kind} of {number}, not of {seq}: {payload!r}\n{self.server.said()}")
            if kind == "started":
                started = True
            elif kind == "store":
                stored.append(split(payload))
            elif kind == "done":
                return Outcome(started, stored, json.loads(payload))

    def until(self, wanted: str) -> Tuple[str, int, bytes]:
        """Reads on to the next record of this kind."""
        while True:
            record = self.next()
            if record[0] == wanted:
                return record

    def interrupt(self, seq: int) -> None:
        """The soft time limit of a call is over."""
        os.pwrite(self.page, struct.pack("<Q", seq), 0)
        os.kill(self.pid, signal.SIGUSR1)

    def call(self, method: str, run: Optional[bytes] = None, **fields: Any) -> Tuple[Any, List[Any]]:
        """Asks the service; gives its answer, and what it stored."""
        self.seq += 1
        head = {"method": method, **fields}
        body = b""
        if run is not None:
            head["run"], body = split(run)
        text = json.dumps(head).encode()
        self.send(CALL, self.seq, struct.pack("<I", len(text)) + text + body)
        stored = []
        while True:
            kind, _, payload = self.next()
            if kind == "store":
                stored.append(split(payload))
            elif kind == "answer":
                return json.loads(payload), stored

    def has_said_nothing(self) -> bool:
        """Whether no packet is there."""
        return not self.waiting and not select.select([self.channel], [], [], 0.2)[0]


class Outcome:
    """What a call came to."""

    def __init__(self, started: bool, stored: List[Any], conclusion: Dict[str, Any]) -> None:
        self.started = started
        self.heads = [head for head, _ in stored]
        self.bodies = [body for _, body in stored]
        self.conclusion = conclusion

    @property
    def end(self) -> Any:
        return self.conclusion["end"]

    @property
    def states(self) -> List[str]:
        return [head["state"] for head in self.heads]

    @property
    def meta(self) -> Any:
        """The last result, read."""
        return json.loads(self.bodies[-1])


def split(payload: bytes) -> Tuple[Dict[str, Any], bytes]:
    size = struct.unpack_from("<I", payload)[0]
    return json.loads(payload[4 : 4 + size]), payload[4 + size :]


def run(task: str, *args: Any, **more: Any) -> bytes:
    """The payload of a RUN record, as Celery's client makes the message."""
    kwargs = more.pop("kwargs", {})
    id = more.pop("id", None) or str(uuid.uuid4())
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None, **more.pop("embed", {})}
    body = more.pop("body", json.dumps([args, kwargs, embed]).encode())
    content_type = more.pop("content_type", "application/json")
    encoding = more.pop("content_encoding", "utf-8")
    redelivered = more.pop("redelivered", False)
    headers = {
        "lang": "py", "task": task, "id": id, "shadow": None, "eta": None, "expires": None, "group": None,
        "group_index": None, "retries": 0, "timelimit": [None, None], "root_id": id, "parent_id": None,
        "argsrepr": repr(args), "kwargsrepr": repr(kwargs), "origin": "gen1@test", "ignore_result": None,
        "replaced_task_nesting": 0, "stamped_headers": None, "stamps": {}, **more,
    }  # fmt: skip
    head = {
        "task": task,
        "id": id,
        "headers": headers,
        "properties": {"reply_to": "the-reply-queue", "correlation_id": id, "priority": 0},
        "delivery_info": {"exchange": "", "routing_key": "celery", "priority": 0, "redelivered": redelivered},
        "content_type": content_type,
        "content_encoding": encoding,
    }
    text = json.dumps(head).encode()
    return struct.pack("<I", len(text)) + text + bytes(body)
