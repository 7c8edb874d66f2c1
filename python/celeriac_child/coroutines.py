"""The pool `coroutines`: many `async def` calls at once, on one loop.

Celery's tracer is a function that blocks. Where nothing is to be done before the task's function, the coroutine runs
first, on the loop, and then the tracer, which is given what came of it. Otherwise the call has a thread in which
the tracer runs and waits for its coroutine. Whose task and request it is, Celery knows by the thread; here by the context,
which the coroutine shares with its tracer.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import os
import queue
import sys
import threading
import time
import traceback
from concurrent.futures import CancelledError, ThreadPoolExecutor
from threading import get_ident
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from . import calls, frames, loops, piped

#: A coroutine may hold the loop for this long, in seconds, before it is named in a warning.
BLOCKED = 0.1

#: Looks at an idle loop after which it is not looked at until there is work.
_IDLE = 100

#: How long the loop may take to end, in seconds.
_PATIENCE = 5.0

#: The call that a context is of.
_call: contextvars.ContextVar[Optional["Call"]] = contextvars.ContextVar("celeriac_call", default=None)


class Call:
    """One call that runs here, and its coroutine once it has one."""

    __slots__ = ("begun", "cancelled", "seq", "soft", "step")

    def __init__(self, seq: int) -> None:
        self.seq = seq
        self.step: Optional[loops.Step] = None
        self.soft = False
        self.cancelled = False
        #: When it began, until its tracer has asked.
        self.begun: Optional[float] = None


def _clock() -> float:
    """What a tracer takes for the time: first that of the call's begin, if its coroutine has run before."""
    call = _call.get()
    if call is None or call.begun is None:
        return time.monotonic()
    begun, call.begun = call.begun, None
    return begun


class Coroutines:
    """Takes calls while it has room, and runs them at once."""

    def __init__(self, app: Any, node: str, channel: frames.Channel, slots: int, fault: Callable[..., None]) -> None:
        self._channel = channel
        self._tell_fault = fault
        self._slots = slots
        self._driver = _Driver()
        loops.use(self._driver)
        self._calls = calls.Calls(app, node, channel, _clock)
        self._app = app
        self._direct: Dict[str, bool] = {}
        self._finishers = ThreadPoolExecutor(4, thread_name_prefix="celeriac-finisher")
        self._work: "queue.SimpleQueue[Optional[Tuple[Call, Dict[str, Any], bytes]]]" = queue.SimpleQueue()
        self._threads: List[threading.Thread] = []
        self._running: Dict[int, Call] = {}
        #: How many of them have a thread.
        self._traced = 0
        self._tasks: Set["asyncio.Task[None]"] = set()
        self._room = threading.Condition()
        _by_context(app)

    def run(self) -> int:
        """Runs calls until the process shall leave; gives the code to exit with."""
        self._driver.start()
        while True:
            self._wait_for_room()
            record = self._channel.receive()
            if record is None or record[0] == frames.LEAVE:
                break
            kind, seq, payload = record
            if kind == frames.RUN:
                self._begin(seq, payload)
            elif kind in (frames.CANCEL, frames.SOFT):
                self._interrupt(kind, seq)
            else:
                raise frames.Junk(f"a child of coroutines was sent a record of kind {kind}")
        if record is not None:
            for _ in self._threads:
                self._work.put(None)
            for thread in self._threads:
                thread.join()
            with self._room:
                while self._running:
                    self._room.wait()
        self._driver.stop()
        return 0

    def _wait_for_room(self) -> None:
        # A call is read only if there is room for it; what interrupts one, always.
        if len(self._running) < self._slots or not self._channel.next_is(frames.RUN):
            return
        with self._room:
            while len(self._running) >= self._slots:
                self._room.wait()

    def _begin(self, seq: int, payload: bytes) -> None:
        head, body = frames.split_head(payload)
        call = Call(seq)
        direct = self._is_direct(head["task"])
        with self._room:
            self._running[seq] = call
            self._traced += not direct
            busy = self._traced
        if direct:
            self._driver.loop.call_soon_threadsafe(self._start, call, head, body)
            return
        self._work.put((call, head, body))
        if busy > len(self._threads):
            thread = threading.Thread(target=self._trace, name=f"celeriac-tracer-{busy}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _interrupt(self, kind: int, seq: int) -> None:
        with self._room:
            call = self._running.get(seq)
            if call is None:
                return
            call.cancelled |= kind == frames.CANCEL
            call.soft |= kind == frames.SOFT
            step = call.step
        if step is not None:
            step.cancel() if kind == frames.CANCEL else step.soften()

    def _trace(self) -> None:
        """What each of the threads does."""
        try:
            while True:
                work = self._work.get()
                if work is None:
                    return
                contextvars.Context().run(self._run, *work)
        except (BrokenPipeError, ConnectionResetError):
            os._exit(0)
        except BaseException as error:
            self._tell_fault(self._channel, error)
            os._exit(1)

    def _run(self, call: Call, head: Dict[str, Any], body: bytes) -> None:
        _call.set(call)
        self._channel.send(frames.record(frames.STARTED, call.seq))
        ended, conclusion = self._calls.run_split(call.seq, head, body)
        with self._room:
            self._traced -= 1
        self._ended(call, ended, conclusion)

    def _ended(self, call: Call, ended: bytes, conclusion: calls.Conclusion) -> None:
        if not self._channel.is_intact():
            os._exit(1)
        # First, so that who waits for the last of them finds it told.
        self._channel.send(ended)
        with self._room:
            del self._running[call.seq]
            self._room.notify()
        if conclusion.leave is not None:
            os._exit(conclusion.leave & 0xFF)

    def _is_direct(self, name: str) -> bool:
        known = self._direct.get(name)
        if known is None:
            prepared = self._calls.prepared(name)
            known = self._direct[name] = prepared is not None and _may_run_ahead(self._app, prepared)
        return known

    def _start(self, call: Call, head: Dict[str, Any], body: bytes) -> None:
        # Kept, because the loop itself does not.
        task = self._driver.loop.create_task(self._ahead(call, head, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ahead(self, call: Call, head: Dict[str, Any], body: bytes) -> None:
        """Runs a coroutine, then its tracer."""
        try:
            _call.set(call)
            self._channel.send(frames.record(frames.STARTED, call.seq))
            prepared = self._calls.prepared(head["task"])
            assert prepared is not None
            outbox = piped.Outbox(self._channel, call.seq, head["id"], prepared.hold)
            piped.current.set(outbox)
            call.begun = time.monotonic()
            conclusion = await self._concluded(call, prepared, head, body)
            done = frames.record(frames.DONE, call.seq, conclusion.text.encode())
            self._ended(call, outbox.close() + done, conclusion)
        except (BrokenPipeError, ConnectionResetError):
            os._exit(0)
        except BaseException as error:
            self._tell_fault(self._channel, error)
            os._exit(1)

    async def _concluded(
        self, call: Call, prepared: calls.Prepared, head: Dict[str, Any], body: bytes
    ) -> calls.Conclusion:
        from celery.app.task import Context

        opened = self._calls.open(head, body)
        if isinstance(opened, calls.Conclusion):
            return opened
        task, finish = prepared.task, self._calls.conclude
        context = Context(opened, called_directly=False)
        outcome, failed = await self._outcome(call, task, context)
        if isinstance(outcome, loops.Cancelled):
            return calls.Conclusion('{"end":"lost","reason":"cancelled"}')
        loops.ahead.set((task, outcome_of(outcome, failed)))
        # As the task has left it.
        request = dict(vars(context))
        follows = any(request.get(key) for key in ("callbacks", "errbacks", "chain", "chord"))
        if not failed and not follows:
            return finish(prepared, head["task"], head["id"], request)
        # What follows is sent, which blocks.
        inside = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._finishers, inside.run, finish, prepared, head["task"], head["id"], request
        )

    async def _outcome(self, call: Call, task: Any, context: Any) -> Tuple[Any, bool]:
        """What the task's function gives or raises, and whether it raises."""
        from celery._state import _task_stack

        function = getattr(task, "_orig_run", None) or task.run
        _task_stack.push(task)
        task.request_stack.push(context)
        step = None
        try:
            made = function.__celeriac__(*context.args, **context.kwargs)
            step = call.step = _Watched(made, task.name, self._driver)
            step.loop = self._driver.loop
            if call.cancelled:
                made.close()
                return loops.Cancelled(), True
            if call.soft:
                step.soften()
            self._driver.watch()
            return await step.drive(), False
        except asyncio.CancelledError as error:
            cancelled = step is not None and step.cancelled
            return (loops.Cancelled() if cancelled else loops.not_awaited(error)), True
        except BaseException as error:
            return error, True
        finally:
            call.step = None
            task.request_stack.pop()
            _task_stack.pop()


def outcome_of(outcome: Any, failed: bool) -> Callable[[], Any]:
    """What the tracer calls instead of the task's function."""

    def end() -> Any:
        if failed:
            raise outcome
        return outcome

    return end


def _may_run_ahead(app: Any, prepared: calls.Prepared) -> bool:
    """Whether Celery has nothing to do before the task's function that the function could see."""
    from celery import signals
    from celery.app.task import Task
    from celery.app.trace import task_has_custom
    from celery.loaders.base import BaseLoader

    task = prepared.task
    function = getattr(getattr(task, "_orig_run", None) or task.run, "__celeriac__", None)
    caller = next(cls for cls in type(task).__mro__ if "__call__" in vars(cls))
    stores = not task.ignore_result
    return (
        function is not None
        and inspect.iscoroutinefunction(function)
        and prepared.hold
        and caller is Task
        and not task.track_started
        and not task_has_custom(task, "before_start")
        and not signals.task_prerun.receivers
        and not signals.task_postrun.receivers
        and type(app.loader).on_task_init is BaseLoader.on_task_init
        and not app.conf.get("worker_deduplicate_successful_tasks")
        and (not stores or isinstance(task.backend, piped.Piped))
    )


class _Driver:
    """Runs the coroutines of all calls on one loop, in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="celeriac-loop", daemon=True)
        #: The coroutine that the loop is in.
        self._inside: Optional[loops.Step] = None
        self._wanted = threading.Event()

    def start(self) -> None:
        """Begins to serve."""
        self._thread.start()
        threading.Thread(target=self._watch, name="celeriac-watch", daemon=True).start()

    def stop(self) -> None:
        """Ends the loop, and what still waits in it."""
        asyncio.run_coroutine_threadsafe(self._end(), self.loop).result(_PATIENCE)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_PATIENCE)

    async def _end(self) -> None:
        await self.loop.shutdown_asyncgens()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def run(self, coroutine: Any, name: str) -> Any:
        """What `coroutine` gives or raises; called in the thread of its tracer."""
        call = _call.get()
        step = _Watched(coroutine, name, self)
        step.loop = self.loop
        if call is not None:
            call.step = step
            if call.cancelled:
                coroutine.close()
                raise loops.Cancelled()
            step.soft = call.soft
        self.watch()
        try:
            return asyncio.run_coroutine_threadsafe(_started(step), self.loop).result()
        except (asyncio.CancelledError, CancelledError) as error:
            raise loops.Cancelled() if step.cancelled else loops.not_awaited(error) from error
        finally:
            if call is not None:
                call.step = None

    def watch(self) -> None:
        """There is a coroutine that may block the loop."""
        if not self._wanted.is_set():
            self._wanted.set()

    def _watch(self) -> None:
        """Names the coroutines that block the loop, each once."""
        told: Optional[loops.Step] = None
        idle = 0
        while True:
            self._wanted.wait()
            time.sleep(BLOCKED / 2)
            step = self._inside
            since = step.since if step is not None else None
            idle = idle + 1 if step is None else 0
            if idle > _IDLE:
                idle = 0
                self._wanted.clear()
            if step is None or step is told or since is None or time.monotonic() - since < BLOCKED:
                continue
            told = step
            self._warn(step, time.monotonic() - since)

    def _warn(self, step: loops.Step, seconds: float) -> None:
        from celery.utils.log import get_logger

        frame = sys._current_frames().get(self._thread.ident or 0)
        where = "".join(traceback.format_stack(frame)[-1:]).rstrip() if frame is not None else ""
        get_logger("celery.worker").warning(
            "Task %s blocks the event loop for %.0f ms and all other coroutines with it: "
            "await there, or use asyncio.to_thread\n%s",
            step.name,
            seconds * 1000,
            where,
        )


class _Watched(loops.Step):
    """A coroutine of which it is known when the loop is in it."""

    __slots__ = ("driver",)

    def __init__(self, coroutine: Any, name: str, driver: _Driver) -> None:
        super().__init__(coroutine, name)
        self.driver = driver

    def enter(self) -> None:
        self.driver._inside = self
        super().enter()

    def leave(self) -> None:
        self.driver._inside = None
        super().leave()


async def _started(step: loops.Step) -> Any:
    if step.soft:
        # Its time was over before it began.
        step.soften()
    return await step.drive()


def _by_context(app: Any) -> None:
    """Has Celery know the current task by the context instead of by the thread."""
    from celery import _state

    def ident() -> Any:
        call = _call.get()
        return get_ident() if call is None else id(call)

    stacks = [_state._task_stack] + [task.request_stack for task in app.tasks.values()]
    for stack in stacks:
        try:
            stack.__ident_func__ = ident
        except AttributeError:
            # USE_FAST_LOCALS has put real locals of threads in their place.
            raise RuntimeError("the pool of coroutines needs the environment without USE_FAST_LOCALS") from None
