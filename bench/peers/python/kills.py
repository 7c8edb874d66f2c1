"""Children and workers that are killed while they work through a queue."""

import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench_app import LEDGER_FILE, app, enter
from workers import Worker, marked, worker

TASKS = 10_000
CHILD_KILLS = 200
WORKER_KILLS = 50

# How often any task may have been started.
MOST_EXECUTIONS = 5

# If so long nothing is written down, nothing will be; what a dead worker held comes back in 15 s.
SILENCE_SECONDS = 60

# How long the processes of a killed worker may take to notice.
MOURNING_SECONDS = 1.0

OPTIONS = "-P prefork -c 2"


class Ledger:
    """A file in which tasks write down their starts and ends."""

    def __init__(self, folder: str) -> None:
        self.path = Path(folder, "ledger")
        self.path.touch()
        self.variables = {LEDGER_FILE: str(self.path)}
        self.starts: Counter[int] = Counter()
        self.ends: Counter[int] = Counter()
        self.children: list[int] = []
        self._read = 0

    def look(self) -> bool:
        """Reads what is new, and says whether there is any."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            lines = file.read().split(b"\n")
        # What stands after the last line end is not whole.
        whole = lines[:-1]
        self._read += sum(len(line) + 1 for line in whole)
        for line in whole:
            what, number, pid = line.split()
            (self.starts if what == b"start" else self.ends)[int(number)] += 1
            self.children = [*self.children[-3:], int(pid)]
        return bool(whole)

    def wait_for_more(self) -> None:
        """Waits until something happens, or nothing does."""
        last = time.monotonic()
        while not self.look() and time.monotonic() - last < SILENCE_SECONDS:
            time.sleep(0.005)

    def finish(self) -> None:
        """Waits until every task has ended, or nothing more happens."""
        last = time.monotonic()
        while len(self.ends) < TASKS and time.monotonic() - last < SILENCE_SECONDS:
            if self.look():
                last = time.monotonic()
            time.sleep(0.02)

    def counts(self) -> list[dict[str, Any]]:
        """What went wrong."""
        lost = TASKS - len(self.ends)
        often = sum(1 for times in self.starts.values() if times > MOST_EXECUTIONS)
        name = f"tasks started more than {MOST_EXECUTIONS} times"
        return [
            {"name": "tasks lost", "count": lost, "at_most": 0},
            {"name": name, "count": often, "at_most": 0},
        ]


def send_all() -> None:
    with app.producer_or_acquire() as producer:
        for number in range(TASKS):
            enter.apply_async((number,), ignore_result=True, producer=producer)


def of_children(side: str) -> dict[str, Any]:
    """Kills a child that has just run something, again and again."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(folder)
        send_all()
        kills = 0
        with worker(side, OPTIONS, ledger.variables):
            while kills < CHILD_KILLS and len(ledger.ends) < TASKS:
                time.sleep(random.uniform(0.01, 0.12))
                ledger.look()
                with contextlib.suppress(ProcessLookupError, IndexError):
                    os.kill(random.choice(ledger.children), signal.SIGKILL)
                    kills += 1
                    ledger.children = []
            ledger.finish()
        if kills < CHILD_KILLS:
            sys.exit(f"the work was over after {kills} kills")
        return {"counts": ledger.counts()}


def of_workers(side: str) -> dict[str, Any]:
    """Kills the worker again and again; the last one may finish."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(folder)
        send_all()
        orphans = 0
        for kill in range(WORKER_KILLS):
            running = Worker(side, OPTIONS, ledger.variables)
            try:
                ledger.wait_for_more()
                time.sleep(random.uniform(0, 0.5))
                running.kill()
                orphans += left_after(MOURNING_SECONDS)
            finally:
                running.end()
            ledger.look()
            if len(ledger.ends) == TASKS:
                sys.exit(f"the work was over after {kill} kills")
        with worker(side, OPTIONS, ledger.variables):
            ledger.finish()
        name = f"processes left {MOURNING_SECONDS} s after their worker"
        return {"counts": [*ledger.counts(), {"name": name, "count": orphans, "at_most": 0}]}


def left_after(limit: float) -> int:
    """How many processes of the killed worker outlive it for longer than `limit`."""
    end = time.monotonic() + limit
    while True:
        left = len(marked())
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.01)
