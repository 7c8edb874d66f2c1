"""The pool `threads`: calls that run at once in one process."""

from __future__ import annotations

import os
import threading
from typing import Any, Callable, List, Optional

from . import calls, frames, loops


class Threads:
    """Threads that each take the next call and run it."""

    def __init__(self, app: Any, node: str, channel: frames.Channel, slots: int, fault: Callable[..., None]) -> None:
        self._channel = channel
        self._tell_fault = fault
        self._driver = loops.Driver()
        loops.use(self._driver)
        self._calls = calls.Calls(app, node, channel)
        self._slots = slots
        # Whoever holds it reads; so when the worker says to leave, all of them learn it.
        self._reading = threading.Lock()
        self._leaving = False

    def run(self) -> int:
        """Runs calls until the process shall leave; gives the code to exit with."""
        threads: List[threading.Thread] = []
        for number in range(self._slots):
            thread = threading.Thread(target=self._work, name=f"ThreadPoolExecutor-0_{number}", daemon=True)
            thread.start()
            threads.append(thread)
        for thread in threads:
            thread.join()
        return 0

    def _work(self) -> None:
        try:
            while True:
                record = self._next()
                if record is None:
                    return
                kind, seq, payload = record
                if kind != frames.RUN:
                    raise frames.Junk(f"a child of threads was sent a record of kind {kind}")
                self._channel.send(frames.record(frames.STARTED, seq))
                ended, conclusion = self._calls.run(seq, payload)
                if not self._channel.is_intact():
                    os._exit(1)
                self._channel.send(ended)
                if conclusion.leave is not None:
                    # What others run here is lost with the process, as it is with Celery's.
                    os._exit(conclusion.leave & 0xFF)
        except (BrokenPipeError, ConnectionResetError):
            os._exit(0)
        except BaseException as error:
            # The others wait for what never comes; the worker starts another process.
            self._tell_fault(self._channel, error)
            os._exit(1)
        finally:
            self._driver.close()

    def _next(self) -> Optional[frames.Record]:
        with self._reading:
            if self._leaving:
                return None
            record = self._channel.receive()
            if record is None or record[0] == frames.LEAVE:
                self._leaving = True
                return None
            return record
