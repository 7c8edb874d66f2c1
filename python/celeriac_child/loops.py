"""Tasks that are `async def`: who runs their coroutines, and how they are told that their time is over."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
import types
from contextvars import ContextVar
from typing import Any, Callable, Coroutine, Generator, Optional


class Cancelled(BaseException):
    """A coroutine was ended because its call was revoked."""


class Step:
    """One coroutine that runs, as others may interrupt it."""

    __slots__ = ("cancelled", "coroutine", "ended", "future", "loop", "name", "since", "soft")

    def __init__(self, coroutine: Any, name: str) -> None:
        self.coroutine = coroutine
        self.name = name
        self.future: Optional["asyncio.Task[Any]"] = None
        self.loop: Optional[asyncio.AbstractEventLoop] = None
        #: When the loop went into it, if it is in it.
        self.since: Optional[float] = None
        self.soft = False
        self.cancelled = False
        self.ended = False

    @types.coroutine
    def drive(self) -> Generator[Any, Any, Any]:
        """Runs the coroutine; a cancellation that stands for the soft limit becomes that exception within it."""
        self.future = asyncio.current_task()
        try:
            return (yield from self._driven())
        finally:
            self.ended = True

    def _driven(self) -> Generator[Any, Any, Any]:
        coroutine, value, error = self.coroutine, None, None
        while True:
            self.enter()
            try:
                waits = coroutine.send(value) if error is None else coroutine.throw(error)
            except StopIteration as stop:
                return stop.value
            finally:
                self.leave()
            value = error = None
            try:
                value = yield waits
            except asyncio.CancelledError as cancelled:
                error = self._instead_of(cancelled)
            except BaseException as raised:
                error = raised

    def enter(self) -> None:
        """The loop goes into it."""
        self.since = time.monotonic()

    def leave(self) -> None:
        """The loop goes on with others."""
        self.since = None

    def _instead_of(self, cancelled: BaseException) -> BaseException:
        if not self.soft or self.cancelled:
            return cancelled
        self.soft = False
        if self.future is not None and hasattr(self.future, "uncancel"):
            self.future.uncancel()
        from billiard.exceptions import SoftTimeLimitExceeded

        softly: BaseException = SoftTimeLimitExceeded()
        return softly

    def soften(self) -> None:
        """Raises `SoftTimeLimitExceeded` where it awaits; from any thread, and from a signal's handler."""
        self.soft = True
        self._cancel()

    def cancel(self) -> None:
        """Ends it where it awaits; from any thread."""
        self.cancelled = True
        self._cancel()

    def _cancel(self) -> None:
        if self.loop is not None:
            self.loop.call_soon_threadsafe(self._cancel_here)

    def _cancel_here(self) -> None:
        if self.future is not None and not self.ended:
            self.future.cancel()


class Driver:
    """Runs coroutines one after the other, on a loop that lives as long as the process."""

    def __init__(self) -> None:
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._thread = threading.local()
        #: The one that runs, in the main thread.
        self.step: Optional[Step] = None

    def run(self, coroutine: Coroutine[Any, Any, Any], name: str) -> Any:
        """What `coroutine` gives or raises."""
        loop = getattr(self._thread, "loop", None)
        if loop is None:
            loop = self._thread.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(loop)
        step, before = Step(coroutine, name), self.step
        step.loop = loop
        in_main = threading.current_thread() is threading.main_thread()
        if in_main:
            self.step = step
        try:
            return loop.run_until_complete(_awaited(step))
        except asyncio.CancelledError as error:
            raise Cancelled() if step.cancelled else not_awaited(error) from error
        finally:
            if in_main:
                self.step = before

    def close(self) -> None:
        """Ends the loop of this thread."""
        loop = getattr(self._thread, "loop", None)
        if loop is not None and not loop.is_closed():
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()


async def _awaited(step: Step) -> Any:
    return await step.drive()


def not_awaited(error: BaseException) -> Exception:
    """What a cancellation is told as that nobody outside has asked for."""
    # `CancelledError` is no `Exception`, and would pass Celery's tracer as if the process ended.
    return RuntimeError(f"the task was cancelled from within: {error!r}")


def is_async(task: Any) -> bool:
    """Whether the task's function is `async def`, however it is wrapped."""
    return _inner(getattr(task, "_orig_run", None) or task.run) is not None


#: What the coroutine of a call came to that has run before its tracer: its task, and what ends it there.
ahead: ContextVar["Optional[tuple[Any, Callable[[], Any]]]"] = ContextVar("celeriac_ahead", default=None)

#: Who runs the coroutines of this process.
_drivers: "list[Any]" = []


def use(driver: Any) -> None:
    """Has `driver` run the coroutines of this process."""
    _drivers[:] = [driver]


def adopt(task: Any) -> None:
    """Has the coroutines of `task` run when it is called; does nothing to a task without."""
    # `autoretry_for` has put its own function before the task's, and must see what the coroutine raises.
    attribute = "_orig_run" if hasattr(task, "_orig_run") else "run"
    function = getattr(task, attribute)
    if _inner(function) is None or hasattr(function, "__celeriac__"):
        return
    setattr(task, attribute, _runs(task, function))


def _inner(function: Any) -> Optional[Callable[..., Any]]:
    inner = inspect.unwrap(getattr(function, "__func__", function))
    return inner if inspect.iscoroutinefunction(inner) else None


def _runs(task: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        done = ahead.get()
        if done is not None and done[0] is task:
            ahead.set(None)
            return done[1]()
        made = function(*args, **kwargs)
        if not inspect.isawaitable(made):
            return made
        if asyncio._get_running_loop() is not None:
            # Within another coroutine a task is an ordinary coroutine function, unless it is applied there and then.
            return _apart(made, task.name) if task.request.is_eager else made
        if task.request.called_directly:
            return made
        return _drivers[0].run(made, task.name)

    run.__celeriac__ = function  # type: ignore[attr-defined]
    run.__name__ = run.__qualname__ = getattr(function, "__name__", "run")
    run.__doc__ = function.__doc__
    return run


def _apart(made: Any, name: str) -> Any:
    """Runs it in a thread of its own, because this one's loop is running already."""
    outcome: "list[Any]" = []

    def run() -> None:
        own = Driver()
        try:
            outcome.extend((True, own.run(made, name)))
        except BaseException as error:
            outcome.extend((False, error))
        finally:
            own.close()

    thread = threading.Thread(target=run, name=f"celeriac-{name}")
    thread.start()
    thread.join()
    succeeded, value = outcome
    if succeeded:
        return value
    raise value
