"""The peers of the process pool: what Python's standard library does with the same work.

Run as `python3 pools.py MEASURE PEER`; prints one line of JSON, as the Rust side does:
`{"amount": …, "seconds": […]}`, the work of one repetition and how long each repetition took.
"""

import concurrent.futures
import contextlib
import itertools
import json
import multiprocessing
import os
import sys
import time

CORES = len(os.sched_getaffinity(0))
TASKS = 1_000_000
SINGLE_TASKS = 30_000
BODIES = 1_000
BODY_SIZE_BYTES = 1_000_000


def empty(_number):
    """The task that does nothing."""


def echo(body):
    """The task that gives back what it was given."""
    return body


def repetitions(work):
    """Seconds of each repetition after a warm-up: 3 to 10, as fit into about 3 seconds."""
    work()
    seconds = []
    while len(seconds) < 3 or (len(seconds) < 10 and sum(seconds) < 3):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return seconds


@contextlib.contextmanager
def executor():
    """`concurrent.futures.ProcessPoolExecutor`, as `run(task, inputs, chunk_size)`."""
    with concurrent.futures.ProcessPoolExecutor(CORES) as pool:
        yield lambda task, inputs, chunk: pool.map(task, inputs, chunksize=chunk)


@contextlib.contextmanager
def pool():
    """`multiprocessing.Pool.imap_unordered`, as `run(task, inputs, chunk_size)`."""
    with multiprocessing.Pool(CORES) as workers:
        yield workers.imap_unordered


def measure(name, run):
    """The amount and the work of one repetition."""
    if name == "empty-processes":
        return TASKS, lambda: list(run(empty, range(TASKS), 100))
    if name == "empty-processes-1":
        return SINGLE_TASKS, lambda: list(run(empty, range(SINGLE_TASKS), 1))
    if name == "bodies":
        body = bytes(BODY_SIZE_BYTES)
        megabytes = BODIES * BODY_SIZE_BYTES / 1e6
        return megabytes, lambda: check(run(echo, itertools.repeat(body, BODIES), 1))
    sys.exit(f"no measure {name!r}")


def check(bodies):
    """Makes sure that every body came back whole, and keeps none."""
    sizes = [len(body) for body in bodies]
    assert sizes == [BODY_SIZE_BYTES] * BODIES


def main():
    name, peer = sys.argv[1:]
    with {"ProcessPoolExecutor": executor, "Pool": pool}[peer]() as run:
        amount, work = measure(name, run)
        print(json.dumps({"amount": amount, "seconds": repetitions(work)}))


if __name__ == "__main__":
    main()
