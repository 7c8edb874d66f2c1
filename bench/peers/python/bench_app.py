"""An app of Celery's as they are: the worker that is measured imports it.

Broker and results are told by Celery's own variables, which a worker inherits.
"""

import asyncio
import os
import time

from celery import Celery

# The variables that tell tasks where to write down what they did.
MARKS_FILE = "CELERIAC_BENCH_MARKS"
LEDGER_FILE = "CELERIAC_BENCH_LEDGER"

app = Celery("bench_app")
app.conf.task_acks_late = True
app.conf.task_reject_on_worker_lost = True
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_hijack_root_logger = True


def note(variable: str, line: bytes) -> None:
    """Appends a line in one write, so that no other comes between."""
    with open(os.environ[variable], "ab", buffering=0) as file:
        file.write(line)


@app.task
def tick(marked: bool) -> None:
    """Does nothing; a marked one writes down when."""
    if marked:
        note(MARKS_FILE, b"%d\n" % time.time_ns())


@app.task
def nap(marked: bool) -> None:
    """Waits for a tenth of a second; a marked one writes down when."""
    time.sleep(0.1)
    if marked:
        note(MARKS_FILE, b"%d\n" % time.time_ns())


@app.task
async def coroutine_nap(marked: bool) -> None:
    """The same as a coroutine."""
    await asyncio.sleep(0.1)
    if marked:
        note(MARKS_FILE, b"%d\n" % time.time_ns())


@app.task
def enter(number: int) -> None:
    """Works for some milliseconds, and writes down that it starts, and where, and that it ends."""
    note(LEDGER_FILE, b"start %d %d\n" % (number, os.getpid()))
    time.sleep(0.005)
    note(LEDGER_FILE, b"end %d %d\n" % (number, os.getpid()))
