"""Speaks spec/child.md without Celery, and does what no real child would: it lies, dies and dawdles.

The body of a call is `[[what, ...], {}, {}]`. What waits for an event waits at a named pipe, of which the
test holds the other end.
"""
import array, ctypes, json, os, select, signal, socket, struct, sys, time

HEAD = struct.Struct("<BQI")
HELLO, STARTED, STORE, DONE, ANSWER, FAULT = 1, 2, 3, 4, 5, 6
LIMIT = 64 * 1024


def die_with_parent(parent=None):
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os._exit(0)


def descriptors(ancillary):
    found = array.array("i")
    for _, _, data in ancillary:
        found.frombytes(data)
    return list(found)


def record(kind, seq, payload=b""):
    return HEAD.pack(kind, seq, len(payload)) + payload


def with_head(head, rest=b""):
    head = json.dumps(head).encode()
    return struct.pack("<I", len(head)) + head + rest


class Channel:
    def __init__(self, descriptor):
        self.socket = socket.socket(fileno=descriptor)
        self.socket.setblocking(True)

    def send(self, packet):
        if len(packet) <= LIMIT:
            self.socket.send(packet)
            return
        file = os.memfd_create("packet")
        with open(file, "wb", closefd=False) as stream:
            stream.write(packet)
        beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file]))]
        self.socket.sendmsg([record(255, 0)], beside)
        os.close(file)

    def receive(self, flags=0):
        data, ancillary, _, _ = self.socket.recvmsg(LIMIT, 64, flags)
        if ancillary:
            (file,) = descriptors(ancillary)
            with open(file, "rb") as stream:
                stream.seek(0)
                data = stream.read()
        kind, seq, size = HEAD.unpack_from(data)
        payload = data[HEAD.size :]
        assert len(payload) == size
        return kind, seq, payload

    def receive_head(self, flags=0):
        kind, seq, payload = self.receive(flags)
        if kind > 2:
            return kind, seq, {}, b""
        size = struct.unpack_from("<I", payload)[0]
        return kind, seq, json.loads(payload[4 : 4 + size]), payload[4 + size :]


def result(run, state, value):
    head = {
        "id": run["id"], "state": state, "content_type": "application/json", "ttl": 60,
        "reply_to": run["properties"]["reply_to"], "correlation_id": run["properties"]["correlation_id"],
    }
    return with_head(head, json.dumps({"result": value}).encode())


def done(seq, end, **fields):
    return record(DONE, seq, json.dumps({"end": end, **fields}).encode())


class SoftLimit(Exception):
    pass


class Child:
    def __init__(self, files, options):
        self.channel = Channel(files[0])
        self.page = files[1]
        self.options = options
        self.seq = 0
        self.hoard = []
        signal.signal(signal.SIGUSR1, self.on_soft)

    def on_soft(self, *_):
        if struct.unpack("<Q", os.pread(self.page, 8, 0))[0] == self.seq:
            raise SoftLimit

    def serve(self):
        self.channel.send(record(HELLO, 0, json.dumps({"version": 1, "pid": os.getpid()}).encode()))
        before = b""
        while True:
            try:
                # What lies there may be taken back at any moment, so it is not asked first.
                kind, seq, head, body = self.channel.receive_head(socket.MSG_DONTWAIT if before else 0)
            except BlockingIOError:
                self.channel.send(before)
                before = b""
                continue
            if kind == 5:
                if before:
                    self.channel.send(before)
                return 0
            if self.options.get("die_unbegun"):
                os._exit(9)
            self.channel.send(before + record(STARTED, seq))
            self.seq = seq
            try:
                before = self.run(seq, head, *json.loads(body)[0])
            except SoftLimit:
                before = done(seq, "failed", exception="SoftLimit()", traceback="there")
            self.seq = 0
            if b'"recycle": true' in before:
                self.channel.send(before)
                return 0

    def run(self, seq, head, what, *arguments):
        if what == "echo":
            return record(STORE, seq, result(head, "SUCCESS", arguments[0])) + done(
                seq, "succeeded", runtime=0.25, result=repr(arguments[0])
            )
        if what == "pid":
            return record(STORE, seq, result(head, "SUCCESS", os.getpid())) + done(seq, "succeeded", runtime=0, result="")
        if what == "peek":
            try:
                waits = bool(self.channel.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
            except BlockingIOError:
                waits = False
            return record(STORE, seq, result(head, "SUCCESS", waits)) + done(seq, "succeeded", runtime=0, result="")
        if what == "head":
            return record(STORE, seq, result(head, "SUCCESS", head)) + done(seq, "succeeded", runtime=0, result="")
        if what == "ignore":
            return done(seq, "ignored")
        if what == "gate":
            with open(arguments[0]) as gate:
                gate.read()
            return done(seq, "succeeded", runtime=1, result="through")
        if what == "stubborn":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                try:
                    with open(arguments[0]) as gate:
                        gate.read()
                except SoftLimit:
                    pass
        if what == "family":
            if os.fork() == 0:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                with open(arguments[0], "w") as file:
                    file.write(str(os.getpid()))
                os.rename(arguments[0], arguments[1])
                time.sleep(600)
            time.sleep(600)
        if what == "signal":
            os.kill(os.getpid(), arguments[0])
            time.sleep(60)
        if what == "exit":
            os._exit(arguments[0])
        if what == "junk":
            self.channel.socket.send(arguments[0].encode())
            time.sleep(60)
        if what == "fault":
            self.channel.send(record(FAULT, 0, b"it cannot go on"))
            os._exit(1)
        if what == "foreign":
            return done(seq + 7, "ignored")
        if what == "progress":
            self.channel.send(record(STORE, seq, result(head, "PROGRESS", 1)))
            self.channel.send(record(STORE, 0, result(head, "STRAY", 1)))
            return record(STORE, seq, result(head, "LAST", 2)) + record(
                STORE, seq, result(head, "SUCCESS", 3)
            ) + done(seq, "succeeded", runtime=0, result="3")
        if what == "recycle":
            return done(seq, "succeeded", runtime=0, result="", recycle=True)
        if what == "lost":
            return done(seq, "lost", reason="SystemExit(3)", recycle=True)
        if what == "large":
            return record(STORE, seq, result(head, "SUCCESS", arguments[0] * 2)) + done(
                seq, "succeeded", runtime=0, result="large"
            )
        if what == "hoard":
            self.hoard.append(bytearray(os.urandom(1024)) * (1024 * arguments[0]))
            return done(seq, "succeeded", runtime=0, result="")
        raise ValueError(what)


class Coroutines(Child):
    """As many calls as there are slots, each until its gate opens; only the orders are real."""

    def has_call(self):
        """Whether a call is the next that would be read."""
        try:
            return self.channel.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"\x01"
        except BlockingIOError:
            return False

    def serve(self):
        self.channel.send(record(HELLO, 0, b"{}"))
        waiting, deaf, full = {}, set(), 0
        while True:
            poll = select.poll()
            if not full or len(waiting) < full:
                full = 0
                poll.register(self.channel.socket, select.POLLIN)
            for descriptor in waiting:
                poll.register(descriptor, select.POLLHUP | select.POLLIN)
            for descriptor, _ in poll.poll():
                if descriptor in waiting:
                    self.channel.send(done(waiting.pop(descriptor), "succeeded", runtime=1, result="through"))
                    os.close(descriptor)
                    continue
                if len(waiting) == self.options["slots"] and self.has_call():
                    # No room for it, nor for what stands behind it.
                    full = len(waiting)
                    continue
                kind, seq, head, body = self.channel.receive_head()
                if kind == 5:
                    return 0
                if kind == 1:
                    what, *arguments = json.loads(body)[0]
                    self.channel.send(record(STARTED, seq))
                    if what == "quick":
                        self.channel.send(done(seq, "ignored"))
                        continue
                    (gate,) = arguments
                    waiting[os.open(gate, os.O_RDONLY | os.O_NONBLOCK)] = seq
                    if what == "deaf":
                        deaf.add(seq)
                elif seq not in deaf:
                    for descriptor in [one for one, other in waiting.items() if other == seq]:
                        del waiting[descriptor]
                        os.close(descriptor)
                        end = {"end": "lost", "reason": "cancelled"} if kind == 3 else {"end": "failed", "exception": "Soft"}
                        self.channel.send(record(DONE, seq, json.dumps(end).encode()))


def service(files, options):
    channel = Channel(files[0])
    channel.send(record(HELLO, 0, b"{}"))
    calls = 0
    while True:
        kind, seq, head, _ = channel.receive_head()
        if kind == 5:
            return 0
        calls += 1
        method, answer = head["method"], {"ok": calls}
        if method == "control":
            arguments = head["arguments"]
            if head["name"] == "die":
                with open(arguments, "a") as log:
                    log.write("died\n")
                os._exit(7)
            if head["name"] == "die_once" and not os.path.exists(arguments):
                open(arguments, "w").close()
                os._exit(7)
            answer = {"error": "no such command"} if head["name"] == "error" else {"ok": arguments}
        elif "run" in head:
            state = "REVOKED" if method == "revoked" else "FAILURE"
            told = {key: value for key, value in head.items() if key != "run"}
            channel.send(record(STORE, seq, result(head["run"], state, told)))
            answer = {"ok": {"exception": method, "traceback": None}}
        channel.send(record(ANSWER, seq, json.dumps(answer).encode()))


class Server:
    def __init__(self):
        die_with_parent()
        self.control = socket.socket(fileno=os.dup(0))
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        self.options = {}
        self.living = {}

    def exactly(self, size):
        data = b""
        while len(data) < size:
            part = self.control.recv(size - len(data))
            if not part:
                os._exit(0)
            data += part
        return data

    def frame(self):
        start, ancillary, _, _ = self.control.recvmsg(4, 64)
        if not start:
            os._exit(0)
        size = struct.unpack("<I", start + self.exactly(4 - len(start)))[0]
        return json.loads(self.exactly(size)), descriptors(ancillary)

    def send(self, frame):
        data = json.dumps(frame).encode()
        self.control.sendall(struct.pack("<I", len(data)) + data)

    def serve(self):
        self.frame()
        signal.signal(signal.SIGCHLD, lambda *_: None)
        woken, wakes = os.pipe()
        os.set_blocking(wakes, False)
        signal.set_wakeup_fd(wakes)
        ending = False
        while not (ending and not self.living):
            for ready in select.select([self.control, woken], [], [])[0]:
                if ready == woken:
                    os.read(woken, 4096)
                    self.reap()
                    continue
                frame, files = self.frame()
                ending = ending or frame["do"] == "end"
                self.answer(frame, files)
        os._exit(0)

    def answer(self, frame, files):
        if frame["do"] == "import":
            self.options = frame["options"]
            if "log" in self.options:
                with open(self.options["log"], "a") as log:
                    log.write(f"import {os.getpid()}\n")
            if "fail" in self.options:
                self.send({"failed": {"why": "import", "traceback": "Traceback", "advice": "check"}})
                os._exit(1)
            if "die_again" in self.options:
                with open(self.options["log"]) as log:
                    if len(log.readlines()) > 1:
                        os._exit(3)
            if "crash" in self.options:
                os.kill(os.getpid(), signal.SIGSEGV)
            self.send({"report": {"versions": {"python": "3"}, "app": {"name": frame["app"]}}})
        elif frame["do"] == "prepare":
            self.options["pool"], self.options["slots"] = frame["pool"], frame["slots"]
            self.send({"prepared": {}})
        elif frame["do"] == "fork":
            server = os.getpid()
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    die_with_parent(server)
                    self.control.close()
                    signal.set_wakeup_fd(-1)
                    os.setpgid(0, 0)
                    code = self.become(frame["role"], files)
                finally:
                    os._exit(code)
            for file in files:
                os.close(file)
            self.living[pid] = frame["number"]
            self.send({"forked": {"number": frame["number"], "pid": pid}})

    def become(self, role, files):
        if role == "service":
            return service(files, self.options)
        if "die_at_start" in self.options:
            return 3
        if os.path.exists(self.options.get("die_while", "")):
            return 3
        if "die_at_first_start" in self.options:
            path = self.options["die_at_first_start"]
            if not os.path.exists(path):
                open(path, "w").close()
                return 3
        kind = Coroutines if self.options["pool"] == "coroutines" else Child
        return kind(files, self.options).serve()

    def reap(self):
        while self.living:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            status = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
            self.send({"exited": {"number": self.living.pop(pid), "pid": pid, "status": status}})


Server().serve()
