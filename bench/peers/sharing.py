"""The peers of what processes share: `multiprocessing`.

Run as `python3 sharing.py MEASURE PEER`; prints one line of JSON, as `pools.py` does.
"""

import json
import multiprocessing
import os
import signal
import sys
from multiprocessing.managers import BaseManager
from queue import Queue

from pools import repetitions

LOCKS = 1_000_000
INCREMENTS = 300_000
CHANGES = 10_000
KEYS = 1_000
SMALL_ITEMS = 100_000
SMALL_BYTES = 64
LARGE_ITEMS = 500
LARGE_BYTES = 1_000_000
SERVED_ITEMS = 5_000

# How many items a queue holds at most: small, large.
ROOM = 1024
LARGE_ROOM = 8


def take_locks(lock, count):
    """Takes a lock so often."""
    for _ in range(count):
        with lock:
            pass


def keep_taking(lock, begin, end, count):
    """The same each round."""
    while True:
        begin.wait()
        take_locks(lock, count)
        end.wait()


def keep_putting(queue, begin, end, count, size):
    """Puts so many items each round."""
    item = bytes(size)
    while True:
        begin.wait()
        for _ in range(count):
            queue.put(item)
        end.wait()


def keep_getting(queue, end):
    """Gets items until the round is over."""
    while True:
        while queue.get() is not None:
            pass
        end.wait()


def contended():
    """A lock that two processes take."""
    lock, begin, end = multiprocessing.Lock(), multiprocessing.Barrier(3), multiprocessing.Barrier(3)
    for _ in range(2):
        start(keep_taking, lock, begin, end, LOCKS // 2)

    def work():
        begin.wait()
        end.wait()

    return LOCKS, work


def items(pairs, count, size, room):
    """Items from so many processes to as many."""
    queue = multiprocessing.Queue(room)
    begin, put, got = (multiprocessing.Barrier(pairs + 1) for _ in range(3))
    for _ in range(pairs):
        start(keep_putting, queue, begin, put, count // pairs, size)
        start(keep_getting, queue, got)

    def work():
        begin.wait()
        put.wait()
        # What is still on its way then counts for the next round.
        for _ in range(pairs):
            queue.put(None)
        got.wait()

    return count, work


def increments():
    """A value under its lock."""
    value = multiprocessing.Value("Q")

    def work():
        for _ in range(INCREMENTS):
            with value.get_lock():
                value.value += 1

    return INCREMENTS, work


def changes():
    """A dictionary of a manager."""
    manager = multiprocessing.Manager()
    shared = manager.dict()

    def work():
        for number in range(CHANGES // 2):
            shared[number % KEYS] = number
            assert shared[number % KEYS] == number

    return CHANGES, work


class Manager(BaseManager):
    """Serves a queue over TCP to who knows its key."""


Manager.register("queue", Queue)


def served():
    """A queue of a manager: each item put, then got."""
    manager = Manager(address=("127.0.0.1", 0), authkey=b"k" * 32)
    manager.start()
    items = manager.queue(512)

    def work():
        for number in range(SERVED_ITEMS):
            items.put(number)
            assert items.get() == number

    # The manager ends with what is kept here.
    work.manager = manager
    return SERVED_ITEMS, work


def start(target, *args):
    """Another process, which ends with this one."""
    multiprocessing.Process(target=target, args=args, daemon=True).start()


def measure(name):
    """The amount and the work of one repetition."""
    if name == "process-lock":
        lock = multiprocessing.Lock()
        return LOCKS, lambda: take_locks(lock, LOCKS)
    if name == "process-lock-2":
        return contended()
    if name == "process-queue":
        return items(1, SMALL_ITEMS, SMALL_BYTES, ROOM)
    if name == "process-queue-2":
        return items(2, SMALL_ITEMS, SMALL_BYTES, ROOM)
    if name == "process-queue-large":
        return items(1, LARGE_ITEMS, LARGE_BYTES, LARGE_ROOM)
    if name == "process-value":
        return increments()
    if name == "process-dict":
        return changes()
    if name == "manager-queue":
        return served()
    sys.exit(f"no measure {name!r}")


def main():
    name, _peer = sys.argv[1:]
    amount, work = measure(name)
    print(json.dumps({"amount": amount, "seconds": repetitions(work)}), flush=True)
    for child in multiprocessing.active_children():
        os.kill(child.pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
