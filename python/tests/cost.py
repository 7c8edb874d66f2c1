"""Measures what a call costs a child, in processor time: `python cost.py [CALLS]`.

The interpreter measured is the one of CELERIAC_TEST_PYTHON, or the one that runs this.
"""

from __future__ import annotations

import os
import sys
import time

from harness import LEAVE, RUN, Process, run, served

APP = {
    "proj.py": """
        from celery import Celery

        app = Celery("proj", broker="redis://localhost:1/0", backend="redis://localhost:1/1")

        @app.task(ignore_result=True)
        def ignored():
            pass

        @app.task
        def stored():
            return 1

        @app.task
        async def awaited():
            return 1
        """
}

#: Packets on their way to the child, so that it never waits.
AHEAD = 32


def spent(pid: int) -> float:
    """Processor time of a process so far, in seconds."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(child: Process, task: str, calls: int) -> None:
    """Runs so many calls, and prints what one of them took."""
    payload = run(task)
    packets, begun, started = child.packets, time.monotonic(), spent(child.pid)
    sent = done = 0
    while done < calls:
        while sent < calls and sent - done < AHEAD:
            child.seq += 1
            sent += 1
            child.send(RUN, child.seq, payload)
        done += child.next()[0] == "done"
    wall, cpu = time.monotonic() - begun, spent(child.pid) - started
    print(
        f"{task:14} {cpu / calls * 1e6:6.1f} us of processor, {wall / calls * 1e6:6.1f} us in all, "
        f"{(child.packets - packets) / calls:.2f} packets"
    )


def main() -> None:
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    for level in ("WARNING", "INFO"):
        print(f"-l {level}")
        with served(APP, loglevel=level) as server:
            child = server.fork()
            for task in ("proj.ignored", "proj.stored", "proj.awaited"):
                measure(child, task, calls // 10)
                measure(child, task, calls)
            child.send(LEAVE)


if __name__ == "__main__":
    main()
