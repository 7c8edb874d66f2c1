"""The peer of the brokers: Celery, with one worker of two processes.

Run as `python celery_side.py MEASURE Celery` by a Python that has Celery, with the servers' URLs in the
variables by which tests are told them. Prints one line of JSON, as the Rust side does:
`{"amount": …, "seconds": […]}`, the work of one repetition and how long each repetition took.

The worker imports this file for its task. As with ours, tasks are acknowledged when they have run.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from celery import Celery
from celery.result import ResultSet

REPETITIONS = 3
REDIS_TASKS = 2_000
AMQP_TASKS = 4_000
MARKS = 20
LATENCIES = 200

# So long nothing happens before a latency is taken, that everybody has gone to sleep.
IDLE_SECONDS = 0.02

# How long a worker may take for what is asked of it.
LIMIT_SECONDS = 120

# The variable that tells a worker the pipe for its marks.
MARKS_FILE = "CELERIAC_BENCH_MARKS"

# Broker and results are told by Celery's own variables, which a worker inherits.
app = Celery("celery_side")
app.conf.task_acks_late = True
app.conf.broker_connection_retry_on_startup = True


@app.task
def tick(marked: bool) -> None:
    """Does nothing; a marked one writes down when, in one write."""
    if marked:
        with open(os.environ[MARKS_FILE], "ab", buffering=0) as file:
            file.write(b"%d\n" % time.time_ns())


@contextlib.contextmanager
def pipe_for_marks() -> Iterator[tuple[Path, BinaryIO]]:
    """A pipe that tasks can open by its name, and its end to read from."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "marks")
        os.mkfifo(path)
        # Open for writing too, or a task could not open it, and reading would end with the first task.
        with open(path, "r+b", buffering=0) as marks:
            yield path, marks


@contextlib.contextmanager
def worker(marks: Path) -> Iterator[None]:
    """One that runs until the end of the block; it gives back what it has not run."""
    command = "setpriv --pdeathsig KILL --".split()
    command += [sys.executable, "-m", "celery", "-A", "celery_side", "worker"]
    command += "-P prefork -c 2 --loglevel ERROR".split()
    variables = {
        MARKS_FILE: str(marks),
        "C_FORCE_ROOT": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(Path(__file__).parent),
        "PYTHONWARNINGS": "ignore",
    }
    process = subprocess.Popen(
        command,
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
        process.terminate()
        process.wait(LIMIT_SECONDS)
    finally:
        # Its children too, if it has not ended as asked.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def drain(tasks: int, keep: bool) -> tuple[int, list[float]]:
    """From the first task to the last marked one; if results are kept, until the client has all."""
    step = tasks // MARKS
    seconds = []
    for _ in range(REPETITIONS):
        with pipe_for_marks() as (path, marks):
            results = [
                tick.apply_async((number % step == 0,), ignore_result=not keep)
                for number in range(tasks)
            ]
            with worker(path):
                if keep:
                    ResultSet(results).get(timeout=LIMIT_SECONDS)
                    end = time.time_ns()
                    first = min(wait_for_marks(marks))
                else:
                    times = wait_for_marks(marks)
                    first, end = min(times), max(times)
            app.control.purge()
        seconds.append((end - first) / 1e9)
    return (tasks if keep else tasks - step), seconds


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


def latency() -> tuple[int, list[float]]:
    """One task at a time through a worker that has gone to sleep."""
    seconds = []
    with pipe_for_marks() as (path, _), worker(path):
        tick.delay(False).get(timeout=LIMIT_SECONDS)
        for _ in range(LATENCIES):
            time.sleep(IDLE_SECONDS)
            begun = time.perf_counter()
            tick.delay(False).get(timeout=LIMIT_SECONDS)
            seconds.append(time.perf_counter() - begun)
    return 1, seconds


def measure(name: str) -> tuple[int, list[float]]:
    """The amount of work of one repetition, and the seconds of each."""
    redis = os.environ["CELERIAC_TEST_REDIS"]
    rabbitmq = os.environ["CELERIAC_TEST_AMQP"]
    broker, results = (rabbitmq, "rpc://") if name.startswith("amqp-") else (redis, redis)
    os.environ["CELERY_BROKER_URL"] = broker
    os.environ["CELERY_RESULT_BACKEND"] = results
    if name == "redis-drain":
        return drain(REDIS_TASKS, keep=False)
    if name == "redis-results":
        return drain(REDIS_TASKS, keep=True)
    if name == "amqp-drain":
        return drain(AMQP_TASKS, keep=False)
    if name in ("redis-latency", "amqp-latency"):
        return latency()
    sys.exit(f"no measure {name!r}")


def main() -> None:
    """Runs the measure that the command line names."""
    amount, seconds = measure(sys.argv[1])
    print(json.dumps({"amount": amount, "seconds": seconds}))


if __name__ == "__main__":
    main()
