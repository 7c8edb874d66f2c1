"""An operator's `inspect ping`: the whole command, ours and Celery's, asking one idle worker of its own kind."""

import os
import subprocess
import sys
import time
from typing import Any

from workers import COMMAND, idle_worker

REPETITIONS = {"ours": 20, "Celery": 3}

NODE = "bench@here"


def ping(name: str, side: str) -> dict[str, Any]:
    """What each run of the command takes: the time until it ends, or its time on a processor."""
    programs = {"ours": [os.environ[COMMAND]], "Celery": [sys.executable, "-m", "celery"]}
    words = [*programs[side], "-b", os.environ["CELERY_BROKER_URL"], "inspect", "ping"]
    if "amqp" in name:
        # RabbitMQ does not tell how many workers hear it: who names none waits for a second.
        words += ["-d", NODE]
    of_processor = name.endswith("-cpu")
    with idle_worker(side, f"-P prefork -c 2 -n {NODE}"):
        # The first one reads the files from the disk.
        took = [run(words)[of_processor] for _ in range(REPETITIONS[side] + 1)][1:]
    return {"amount": 1, "seconds": took}


def run(words: list[str]) -> tuple[float, float]:
    """Runs a command that has to find one worker; the seconds until it ended, and on a processor."""
    begun = time.perf_counter()
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert process.stdout
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    took = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or b"pong" not in printed or b"1 node online." not in printed:
        sys.exit(f"{words} ended with {process.returncode}:\n{printed.decode(errors='replace')}")
    return took, usage.ru_utime + usage.ru_stime
