"""The fork server: imports the app, tells the worker of it, and forks; it runs no task."""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import os
import select
import signal
import sys
from typing import Any, Dict, List, Optional, Tuple

from . import app as apps
from . import child, errors, frames, loops, report, shortcuts

_PR_SET_PDEATHSIG = 1


def main(connection: Any) -> None:
    """Serves the worker at the other end until it goes."""
    server = Server(frames.Control(connection))
    try:
        code = server.serve()
    except errors.Failed as failed:
        server.control.send(failed.frame())
        code = 1
    except BaseException:
        # Not into the log of the app, where each piece of the traceback would be a line of its own.
        sys.stderr = sys.__stderr__
        raise
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(code)


class Server:
    """The one process that has imported the app and that all others come from."""

    def __init__(self, control: frames.Control) -> None:
        self.control = control
        self._app: Any = None
        self._worker: Any = None
        self._options: Dict[str, Any] = {}
        #: Number and slot of each process that lives, by its id.
        self._living: Dict[int, Tuple[int, int]] = {}
        self._ending = False
        self._libc = ctypes.CDLL(None, use_errno=True)
        _die_with_parent(self._libc)
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"):
            # The worker decides when its processes end; a terminal or a service manager tells it, and all of them.
            signal.signal(getattr(signal, name), signal.SIG_IGN)

    def serve(self) -> int:
        """Answers the worker; gives the code to exit with."""
        woken, wakes = os.pipe()
        for end in (woken, wakes):
            os.set_blocking(end, False)
        poll = select.poll()
        poll.register(self.control.socket, select.POLLIN)
        poll.register(woken, select.POLLIN)
        self._wakes = wakes
        while not (self._ending and not self._living):
            for descriptor, _ in poll.poll():
                if descriptor == woken:
                    os.read(woken, 4096)
                    self._reap()
                elif not self._answer():
                    self._ending = True
                    poll.unregister(self.control.socket)
        return 0

    def _answer(self) -> bool:
        """Does what the next frame asks for; false when there is no more."""
        received = self.control.receive()
        if received is None:
            # The worker has died: its children must not outlive it.
            for pid in self._living:
                os.kill(pid, signal.SIGKILL)
            return False
        wanted, files = received
        do = wanted.get("do")
        if do == "import":
            self._import(wanted)
        elif do == "prepare":
            self._prepare(wanted)
        elif do == "fork":
            self._fork(wanted, files)
        elif do == "end":
            return False
        else:
            raise frames.Junk(f"the worker asks for {do!r}")
        return True

    def _import(self, wanted: Dict[str, Any]) -> None:
        (self._app, self._worker), warnings = apps.warned(lambda: apps.load(wanted))
        try:
            found = report.report(self._app, self._worker, warnings)
        except Exception as error:
            raise apps.of_settings(error) from error
        self.control.send({"report": found})

    def _prepare(self, wanted: Dict[str, Any]) -> None:
        self._options = {
            "piped": bool(wanted.get("piped")),
            "pool": wanted.get("pool") or "prefork",
            "slots": int(wanted.get("slots") or 1),
        }
        # After the app, which may have set them too.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wakes, warn_on_full_buffer=False)
        _import_ahead()
        shortcuts.install(self._app)
        for task in self._app.tasks.values():
            loops.adopt(task)
        gc.collect()
        gc.freeze()
        self.control.send({"prepared": {}})

    def _fork(self, wanted: Dict[str, Any], files: List[int]) -> None:
        number, role = wanted["number"], wanted["role"]
        if len(files) != 2:
            raise frames.Junk("a fork needs a channel and a page")
        slot = self._free_slot() if role == "child" else -1
        if role == "child":
            self._tell_of_fork()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become(server, number, slot, role, files)
        for file in files:
            os.close(file)
        self._living[pid] = number, slot
        self.control.send({"forked": {"number": number, "pid": pid}})

    def _become(self, server: int, number: int, slot: int, role: str, files: List[int]) -> None:
        code = 1
        try:
            _die_with_parent(self._libc, server)
            signal.set_wakeup_fd(-1)
            self.control.socket.close()
            # Time limits end the programs that a task has started with it.
            os.setpgid(0, 0)
            # Says where it is although it is blocked, or runs no Python; and no program that a task starts inherits it.
            faulthandler.register(signal.SIGURG, file=files[1], all_threads=True)
            if role == "service":
                from . import service

                code = service.become(self._app, self._worker, files, self._options)
            else:
                code = child.become(self._app, self._worker, number, slot, files, self._options)
        except BaseException as error:
            print(errors.told(error), file=sys.__stderr__)
        finally:
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code & 0xFF)

    def _reap(self) -> None:
        for pid in list(self._living):
            try:
                found, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                # Somebody else, code of the app, has waited for it.
                found, status = pid, 0
            if found == 0:
                continue
            number, _ = self._living.pop(pid)
            self.control.send({"exited": {"number": number, "pid": pid, "status": os.waitstatus_to_exitcode(status)}})

    def _free_slot(self) -> int:
        taken = {slot for _, slot in self._living.values()}
        return next(slot for slot in range(len(taken) + 1) if slot not in taken)

    def _tell_of_fork(self) -> None:
        from celery import signals

        signal = getattr(signals, "worker_before_create_process", None)
        if signal is not None and signal.receivers:
            signal.send(sender=self._worker)


def _import_ahead() -> None:
    """What every child needs, so that none imports it again."""
    import asyncio  # noqa: F401
    import random  # noqa: F401

    import billiard.context  # noqa: F401
    import billiard.einfo  # noqa: F401
    import billiard.exceptions  # noqa: F401
    import celery.app.trace  # noqa: F401
    import celery.worker.state  # noqa: F401

    from . import calls, loops, piped  # noqa: F401


def _die_with_parent(libc: Any, parent: Optional[int] = None) -> None:
    if sys.platform != "linux":
        return
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        # It was gone before it could be asked for.
        os._exit(0)
