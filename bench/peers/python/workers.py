"""Workers of both kinds on the same app: `celery worker`, and celeriac in its place."""

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

# How long a worker may take for what is asked of it.
LIMIT_SECONDS = 120

# The variable that names the `celeriac` command.
COMMAND = "CELERIAC_BENCH_COMMAND"

# A word in the environment of a worker and of all that it starts.
MARK = "CELERIAC_BENCH_WORKER"


def command(side: str) -> list[str]:
    """What is typed before `-A`: one word is another."""
    if side == "ours":
        return [os.environ[COMMAND], "--python", sys.executable]
    return [sys.executable, "-m", "celery"]


class Worker:
    """A running worker and its processes."""

    def __init__(
        self, side: str, options: str, variables: dict[str, str] | None = None, talks: bool = False
    ) -> None:
        """Starts it; one that talks can be waited for."""
        words = "setpriv --pdeathsig KILL --".split() + command(side)
        words += "-A bench_app worker --without-gossip --without-mingle --loglevel".split()
        words += ["INFO" if talks else "ERROR"]
        own = {
            MARK: str(os.getpid()),
            "C_FORCE_ROOT": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(Path(__file__).parent),
            "PYTHONWARNINGS": "ignore",
        }
        self.process = subprocess.Popen(
            words + options.split(),
            env=os.environ | own | (variables or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if talks else subprocess.DEVNULL,
            stderr=subprocess.STDOUT if talks else None,
            start_new_session=True,
        )
        self._log = b""

    def wait_ready(self) -> None:
        """Returns when it says that it takes tasks. It is to run none: nobody reads what it says then."""
        end = time.monotonic() + LIMIT_SECONDS
        assert self.process.stdout
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b" ready." not in self._log:
                if not selector.select(max(0.0, end - time.monotonic())):
                    break
                more = os.read(self.process.stdout.fileno(), 65536)
                if not more:
                    break
                self._log += more
        if b" ready." not in self._log:
            sys.exit("the worker does not get ready:\n" + self._log.decode(errors="replace"))

    def tree(self) -> list[int]:
        """All its processes, itself first."""
        parents: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, IndexError):
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    parents.setdefault(int(fields[1]), []).append(int(entry.name))
        found = [self.process.pid]
        for pid in found:
            found.extend(parents.get(pid, []))
        return found

    def memory(self) -> int:
        """The bytes that all its processes take, what they share counted once."""
        total = 0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1]) * 1024
        return total

    def processor_seconds(self) -> float:
        """How long the threads of all its processes have run on a processor."""
        nanoseconds = 0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                for thread in Path(f"/proc/{pid}/task").iterdir():
                    nanoseconds += int((thread / "schedstat").read_text().split()[0])
        return nanoseconds / 1e9

    def kill(self) -> None:
        """Kills its first process, and only that."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Ends it as a supervisor would; whatever is left of it is killed."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        self.kill()
        for pid in marked():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def marked() -> list[int]:
    """The processes of workers of ours that still run."""
    word = f"{MARK}={os.getpid()}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if word in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


@contextlib.contextmanager
def worker(
    side: str, options: str, variables: dict[str, str] | None = None
) -> Iterator[Worker]:
    """One that runs until the end of the block; it gives back what it has not run."""
    running = Worker(side, options, variables)
    try:
        yield running
    finally:
        running.end()


@contextlib.contextmanager
def idle_worker(side: str, options: str) -> Iterator[Worker]:
    """One that is ready and has nothing to do, until the end of the block."""
    running = Worker(side, options, talks=True)
    try:
        running.wait_ready()
        yield running
    finally:
        running.end()
