"""A child: what it does after its fork, and the loop of the pools that run one call at a time."""

from __future__ import annotations

import json
import mmap
import os
import signal
import sys
from typing import Any, Dict, Optional

from . import calls, frames, loops, piped

#: Signals whose handlers the fork server, or the app, may have set.
_RESET = ("SIGTERM", "SIGHUP", "SIGQUIT", "SIGTTIN", "SIGTTOU", "SIGUSR1", "SIGUSR2", "SIGCHLD")


class Page:
    """What the worker tells a process without a message."""

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, mmap.PAGESIZE, access=mmap.ACCESS_READ)

    def interrupted(self) -> int:
        """The call whose soft time limit is over."""
        return int.from_bytes(self._memory[:8], "little")


#: The handler of a signal as it was set; what Python has in front of it makes an enumeration of each.
_handler = getattr(signal.getsignal, "__wrapped__", signal.getsignal)


class Child:
    """Runs calls one after the other until it shall leave."""

    def __init__(self, app: Any, node: str, channel: frames.Channel, page: Page) -> None:
        self._channel = channel
        self._page = page
        self._glance = frames.Glance(channel)
        self._driver = loops.Driver()
        loops.use(self._driver)
        self._calls = calls.Calls(app, node, channel)
        self._running = 0

    def run(self) -> int:
        """The loop; gives the code to exit with."""
        channel, ended = self._channel, b""
        while True:
            # What has ended goes with what begins, if that is here already.
            if ended and not self._glance.has_record:
                channel.send(ended)
                ended = b""
            # The last call may have set another.
            if _handler(signal.SIGUSR1) != self._over:
                signal.signal(signal.SIGUSR1, self._over)
            # What has come may have been taken back.
            record = channel.receive(wait=not ended)
            if record is frames.NOTHING:
                self._glance.has_record = False
                continue
            if record is None or record[0] == frames.LEAVE:
                if ended:
                    channel.send(ended)
                self._driver.close()
                return 0
            kind, seq, payload = record
            if kind != frames.RUN:
                raise frames.Junk(f"a child of one slot was sent a record of kind {kind}")
            channel.send(ended + frames.record(frames.STARTED, seq))
            ended, conclusion = self._run(seq, payload)
            if conclusion.leave is not None:
                channel.send(ended)
                return conclusion.leave

    def _run(self, seq: int, payload: bytes) -> "tuple[bytes, calls.Conclusion]":
        self._running = seq
        try:
            ended, conclusion = self._calls.run(seq, payload)
        finally:
            self._running = 0
        if not self._channel.is_intact():
            # A task has closed it; nothing can be said any more.
            os._exit(1)
        self._glance.take()
        if not self._glance.is_whole:
            text = json.dumps(dict(json.loads(conclusion.text), recycle=True))
            return _replaced(ended, seq, conclusion, text), calls.Conclusion(text, 0)
        return ended, conclusion

    def _over(self, _signum: int, frame: Any) -> None:
        """The soft time limit of a call is over: raises, but only within that call."""
        if not self._running or self._page.interrupted() != self._running:
            return
        outbox = piped.current.get()
        if (outbox is not None and outbox.held) or not _is_traced(frame):
            # It has not begun, or has come to its end.
            return
        step = self._driver.step
        if step is not None and (step.since is None or frame.f_globals["__name__"] == loops.__name__):
            # Not in the coroutine, but in the loop that waits for it.
            step.soften()
            return
        from billiard.exceptions import SoftTimeLimitExceeded

        raise SoftTimeLimitExceeded()


def _is_traced(frame: Any) -> bool:
    """Whether Celery's tracer is among the callers of what runs."""
    while frame is not None:
        if frame.f_code.co_name == "trace_task":
            return True
        frame = frame.f_back
    return False


def _replaced(ended: bytes, seq: int, conclusion: calls.Conclusion, text: str) -> bytes:
    done = frames.record(frames.DONE, seq, conclusion.text.encode())
    return ended[: -len(done)] + frames.record(frames.DONE, seq, text.encode())


def become(app: Any, worker: Any, number: int, index: int, files: "list[int]", options: Dict[str, Any]) -> int:
    """What a process does from its fork to its end; gives the code to exit with."""
    node, pool = worker.hostname, options["pool"]
    channel = frames.Channel(files[0])
    page = Page(files[1])
    code = 1
    try:
        settle(app, worker, number, index, pool)
        if options["piped"]:
            piped.pipe(app, channel)
        channel.send(frames.record(frames.HELLO, 0, json.dumps({"version": frames.VERSION, "pid": os.getpid()}).encode()))
        code = _loop(app, node, channel, page, options)
    except SystemExit as error:
        code = calls.exit_code(error)
    except (BrokenPipeError, ConnectionResetError):
        # The worker has gone.
        code = 0
    except BaseException as error:
        fault(channel, error)
    finally:
        from celery import signals

        signals.worker_process_shutdown.send(sender=node, pid=os.getpid(), exitcode=code)
    return code


def _loop(app: Any, node: str, channel: frames.Channel, page: Page, options: Dict[str, Any]) -> int:
    if options["pool"] == "threads":
        from . import threads

        return threads.Threads(app, node, channel, options["slots"], fault).run()
    if options["pool"] == "coroutines":
        from . import coroutines

        return coroutines.Coroutines(app, node, channel, options["slots"], fault).run()
    return Child(app, node, channel, page).run()


def fault(channel: frames.Channel, error: BaseException) -> None:
    """Says why the process cannot go on."""
    from . import errors

    text = calls.said(errors.told(error))
    try:
        channel.send(frames.record(frames.FAULT, 0, text.encode()))
    except OSError:
        print(text, file=sys.__stderr__)


def settle(app: Any, worker: Any, number: int, index: int, pool: str) -> None:
    """What Celery's own children do after their fork, in its order."""
    from billiard import common, util
    from billiard.context import ForkProcess
    from billiard.process import _set_current_process
    from celery import platforms, signals
    from celery._state import _set_task_join_will_block, set_default_app
    from celery.worker import state

    if "random" in sys.modules:
        sys.modules["random"].seed()
    common._should_have_exited[0] = False
    if pool == "prefork":
        # Its name is in every line of its log.
        process: Any = ForkProcess(name=f"ForkPoolWorker-{number}")
        process.index = index
        _set_current_process(process)
    util._finalizer_registry.clear()
    util._run_after_forkers()
    _set_task_join_will_block(True)
    platforms.signals.reset(*_RESET)
    platforms.signals.ignore("SIGINT")
    platforms.set_mp_process_title("celeryd", hostname=worker.hostname)
    app.loader.init_worker()
    app.loader.init_worker_process()
    _reopen_log(app, worker)
    app.set_current()
    set_default_app(app)
    app.finalize()
    state.reset_state()
    signals.worker_process_init.send(sender=worker.hostname)
    common.reset_signals(full=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _reopen_log(app: Any, worker: Any) -> None:
    logfile: Optional[str] = worker.logfile if isinstance(worker.logfile, str) else None
    if logfile and "%i" in logfile.lower():
        # Each process has a file of its own.
        app.log.already_setup = False
        redirect = worker.redirect_stdouts and not worker._custom_logging
        app.log.setup(worker.loglevel, logfile, redirect, worker.redirect_stdouts_level, hostname=worker.hostname)
