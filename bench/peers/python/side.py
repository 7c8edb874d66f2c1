"""An app of Celery's under celeriac and under Celery's own worker.

Run as `python side.py MEASURE SIDE` by a Python that has Celery; SIDE is `ours`, `Celery` or what else
`OPTIONS` has for the measure. The servers' URLs stand in the variables by which tests are told them, the
`celeriac` command in `CELERIAC_BENCH_COMMAND`. Prints one line of JSON, as the Rust side does.
"""

import contextlib
import json
import os
import select
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from bench_app import MARKS_FILE, app, coroutine_nap, nap, tick
from workers import LIMIT_SECONDS, idle_worker, worker

REPETITIONS = 3
MARKS = 20
LATENCIES = 200
STARTS = 5

# So long nothing happens before a latency is taken, that everybody has gone to sleep.
IDLE_SECONDS = 0.02

# How long the memory of a worker with nothing to do is watched.
WATCHED_SECONDS = 3

# How long a worker has to be done with its start, and how long its time on a processor is watched then.
STARTING_SECONDS = 5
RESTING_SECONDS = 20

# How many tasks a side gets, so that each works for seconds: measure, side.
TASKS = {
    ("python-drain", "ours"): 20_000,
    ("python-drain", "Celery"): 2_000,
    ("python-results", "ours"): 10_000,
    ("python-results", "Celery"): 2_000,
    ("python-amqp-drain", "ours"): 20_000,
    ("python-amqp-drain", "Celery"): 6_000,
    ("python-amqp-drain", "solo"): 6_000,
    ("python-recycle", "ours"): 400,
    ("python-recycle", "Celery"): 60,
    ("python-coroutines", "ours"): 6_000,
    ("python-coroutines", "Celery"): 2_000,
}

# What a worker is told besides; prefork with two processes if nothing stands here.
OPTIONS = {
    ("python-amqp-drain", "solo"): "-P solo",
    ("python-recycle", "ours"): "-P prefork -c 2 --max-tasks-per-child 1",
    ("python-recycle", "Celery"): "-P prefork -c 2 --max-tasks-per-child 1",
    ("python-coroutines", "ours"): "-P coroutines -c 500",
    ("python-coroutines", "Celery"): "-P threads -c 100",
}
PREFORK = "-P prefork -c 2"
EIGHT = "-P prefork -c 8"


@contextlib.contextmanager
def pipe_for_marks() -> Iterator[tuple[dict[str, str], BinaryIO]]:
    """A pipe that tasks find by a variable, and its end to read from."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "marks")
        os.mkfifo(path)
        # Open for writing too, or a task could not open it, and reading would end with the first task.
        with open(path, "r+b", buffering=0) as marks:
            yield {MARKS_FILE: str(path)}, marks


def drain(name: str, side: str, task: Any, keep: bool = False) -> dict[str, Any]:
    """From the first marked task to the last; if results are kept, until the client has all.

    The backlog is sent before the worker is started, so that neither counts.
    """
    tasks = TASKS[name, side]
    step = tasks // MARKS
    seconds = []
    for _ in range(REPETITIONS):
        with pipe_for_marks() as (variables, marks):
            with app.producer_or_acquire() as producer:
                results = [
                    task.apply_async(
                        (number % step == 0,), ignore_result=not keep, producer=producer
                    )
                    for number in range(tasks)
                ]
            with worker(side, OPTIONS.get((name, side), PREFORK), variables):
                if keep:
                    # `ResultSet.get` sleeps between two results, and takes fewer a second than are measured.
                    ids = [result.id for result in results]
                    collected = dict(app.backend.get_many(ids, timeout=LIMIT_SECONDS, interval=0.05))
                    end = time.time_ns()
                    assert len(collected) == tasks, "results are missing"
                    first = min(wait_for_marks(marks))
                else:
                    times = wait_for_marks(marks)
                    first, end = min(times), max(times)
            app.control.purge()
        seconds.append((end - first) / 1e9)
    return {"amount": tasks if keep else tasks - step, "seconds": seconds}


def wait_for_marks(marks: BinaryIO) -> list[int]:
    """When the marked tasks ran, once all have."""
    end = time.monotonic() + LIMIT_SECONDS
    text = b""
    while text.count(b"\n") < MARKS:
        readable, _, _ = select.select([marks], [], [], max(0, end - time.monotonic()))
        if not readable:
            sys.exit("the worker does not run what it should")
        text += marks.read(4096)
    return [int(nanoseconds) for nanoseconds in text.split()]


def latency(side: str) -> dict[str, Any]:
    """One task at a time through a worker that has gone to sleep."""
    seconds = []
    with worker(side, PREFORK):
        tick.delay(False).get(timeout=LIMIT_SECONDS)
        for _ in range(LATENCIES):
            time.sleep(IDLE_SECONDS)
            begun = time.perf_counter()
            tick.delay(False).get(timeout=LIMIT_SECONDS)
            seconds.append(time.perf_counter() - begun)
    return {"amount": 1, "seconds": seconds}


def start(side: str) -> dict[str, Any]:
    """From the start of the command until the worker says that it is ready."""
    seconds = []
    for repetition in range(STARTS + 1):
        begun = time.perf_counter()
        with idle_worker(side, EIGHT):
            took = time.perf_counter() - begun
        # The first one reads the files from the disk.
        if repetition:
            seconds.append(took)
    return {"amount": 1, "seconds": seconds}


def memory() -> dict[str, Any]:
    """What all processes of a worker take when they have nothing to do, of both sides."""
    most = {}
    for side in ("ours", "Celery"):
        with idle_worker(side, EIGHT) as running:
            end = time.monotonic() + WATCHED_SECONDS
            most[side] = 0
            while time.monotonic() < end:
                most[side] = max(most[side], running.memory())
                time.sleep(0.2)
    percent = -(-100 * most["ours"] // most["Celery"])
    megabytes = -(-most["ours"] // 1_000_000)
    name = "percent of the memory of Celery's worker, both idle with 8 processes"
    return {
        "counts": [
            {"name": name, "count": percent, "at_most": 60},
            {"name": "MB of ours", "count": megabytes, "at_most": 200},
        ]
    }


def idle(side: str) -> dict[str, Any]:
    """The time on a processor of all processes of a worker that has nothing to do."""
    with idle_worker(side, EIGHT) as running:
        time.sleep(STARTING_SECONDS)
        before = running.processor_seconds()
        time.sleep(RESTING_SECONDS)
        used = running.processor_seconds() - before
    return {"amount": RESTING_SECONDS, "seconds": [used]}


def measure(name: str, side: str) -> dict[str, Any]:
    """What is reported of a measure."""
    import asking
    import kills

    if name.startswith("inspect-"):
        return asking.ping(name, side)
    if name == "python-idle":
        return idle(side)
    if name in ("python-drain", "python-amqp-drain", "python-recycle"):
        return drain(name, side, tick)
    if name == "python-results":
        return drain(name, side, tick, keep=True)
    if name == "python-coroutines":
        return drain(name, side, coroutine_nap if side == "ours" else nap)
    if name == "python-latency":
        return latency(side)
    if name == "python-start":
        return start(side)
    if name == "python-memory":
        return memory()
    if name == "python-kill9":
        return kills.of_children(side)
    if name == "python-worker-kill9":
        return kills.of_workers(side)
    sys.exit(f"no measure {name!r}")


def main() -> None:
    """Runs the measure that the command line names."""
    _, name, side = sys.argv
    redis, rabbitmq = os.environ["CELERIAC_TEST_REDIS"], os.environ["CELERIAC_TEST_AMQP"]
    broker, results = (rabbitmq, "rpc://") if "amqp" in name else (redis, redis)
    # The app reads them when it is first used.
    os.environ["CELERY_BROKER_URL"] = broker
    os.environ["CELERY_RESULT_BACKEND"] = results
    print(json.dumps(measure(name, side)))


if __name__ == "__main__":
    main()
