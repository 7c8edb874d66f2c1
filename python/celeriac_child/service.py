"""What Celery's main process does in Python: it ends calls that cannot end themselves, and tells the app's handlers."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Optional

from . import calls, errors, frames, logs, loops, piped, report


class Service:
    """Answers CALL records, one after the other."""

    def __init__(self, app: Any, worker: Any, channel: frames.Channel) -> None:
        from kombu.serialization import prepare_accept_content

        self._app = app
        self._worker = worker
        self._channel = channel
        self._accept = prepare_accept_content(app.conf.accept_content)
        self._consumer = _Consumer(app, worker)
        worker.consumer = self._consumer
        # Otherwise the worker writes the line of a received task itself.
        self._writes_lines = not logs.report(app, worker)["is_default"]

    def run(self) -> int:
        """Answers until the worker goes; gives the code to exit with."""
        while True:
            record = self._channel.receive()
            if record is None or record[0] == frames.LEAVE:
                return 0
            kind, seq, payload = record
            if kind != frames.CALL:
                raise frames.Junk(f"the service was sent a record of kind {kind}")
            answer = self._answer(seq, payload)
            self._channel.send(frames.record(frames.ANSWER, seq, json.dumps(answer).encode()))

    def _answer(self, seq: int, payload: bytes) -> Dict[str, Any]:
        head, body = frames.split_head(payload)
        method: Optional[Callable[..., Any]] = getattr(self, f"on_{head.get('method')}", None)
        if method is None:
            return {"error": f"there is no method {head.get('method')!r}"}
        token = piped.current.set(piped.Outbox(self._channel, seq, "", False))
        try:
            return {"ok": report.plain(method(head, body))}
        except Exception as error:
            from celery.utils.log import get_logger

            get_logger("celery.worker").error("%s: %r", head["method"], error, exc_info=True)
            return {"error": calls.said_of(error)}
        finally:
            outbox = piped.current.get()
            piped.current.reset(token)
            if outbox is not None:
                outbox.close()

    def on_received(self, head: Dict[str, Any], body: bytes) -> None:
        """A call has come, and waits for its turn."""
        from celery import signals
        from celery.app.trace import LOG_RECEIVED
        from celery.utils.log import get_logger

        request, _ = self._request(head["run"], body)
        if self._writes_lines:
            context = {
                "id": request.id,
                "name": request.name,
                "args": request.argsrepr,
                "kwargs": request.kwargsrepr,
                "eta": request.eta,
            }
            get_logger("celery.worker.strategy").info(LOG_RECEIVED, context, extra={"data": context})
        signals.task_received.send(sender=self._consumer, request=request)

    def on_unknown(self, head: Dict[str, Any], body: bytes) -> Any:
        """Nobody has registered its task."""
        from celery.exceptions import NotRegistered
        from celery.worker.consumer import Consumer

        run = head["run"]
        message = self._message(run, body)
        message.headers.setdefault("id", run["id"])
        message.headers.setdefault("task", run["task"])
        try:
            raise NotRegistered(run["task"])
        except NotRegistered as error:
            Consumer.on_unknown_task(self._consumer, None, message, error)
        return message.settled()

    def on_revoked(self, head: Dict[str, Any], body: bytes) -> Any:
        """It shall not run, or no longer."""
        from celery.utils.log import get_logger

        request, message = self._request(head["run"], body)
        reason = head["reason"]
        terminated = reason == "terminated"
        if not terminated:
            get_logger("celery.worker.request").info("Discarding revoked task: %s[%s]", request.name, request.id)
        request._announce_revoked(reason, terminated, head.get("signal"), reason == "expired")
        return message.settled()

    def on_timeout(self, head: Dict[str, Any], body: bytes) -> Any:
        """It took longer than its hard limit."""
        import celery
        from billiard.exceptions import TimeLimitExceeded

        request, message = self._request(head["run"], body)
        limit = head["limit"]
        if isinstance(limit, float) and limit.is_integer():
            limit = int(limit)
        request.on_timeout(False, limit)
        if celery.VERSION < (5, 7):
            # Its main process hears of the same end once more, and then tells the app's handlers.
            _tell_of_failure(request, TimeLimitExceeded(limit))
        return message.settled()

    def on_lost(self, head: Dict[str, Any], body: bytes) -> Any:
        """Its child died."""
        from billiard.einfo import ExceptionInfo
        from billiard.exceptions import WorkerLostError

        request, message = self._request(head["run"], body)
        try:
            raise WorkerLostError(head["reason"])
        except WorkerLostError:
            info = ExceptionInfo()
        end: List[str] = []
        _noted(request, "_success_was_stored", lambda: end.append("succeeded"))
        _noted(request, "_retry_worker_lost", lambda: end.append("retried"))
        # The worker has decided already whether it is delivered again.
        with _changed(request.task, "reject_on_worker_lost", head["comes_again"]):
            request.on_failure(info)
        return dict(message.settled(), end=end[0] if end else "failed")

    def on_rejected(self, head: Dict[str, Any], body: bytes) -> None:
        """Its message was refused unread."""
        from celery import signals

        message = self._message(head["run"], body)
        signals.task_rejected.send(sender=self._consumer, message=message, exc=None)

    def on_lifecycle(self, head: Dict[str, Any], _: bytes) -> None:
        """The worker is ready, is being asked to end, or ends."""
        from celery import signals

        event = head["event"]
        if event == "ready":
            signals.worker_ready.send(sender=self._consumer)
        elif event == "shutting_down":
            signals.worker_shutting_down.send(
                sender=self._worker.hostname,
                sig=head.get("signal"),
                how=head.get("how"),
                exitcode=head.get("exitcode"),
            )
        elif event == "shutdown":
            self._app.loader.shutdown_worker()
            signals.worker_shutdown.send(sender=self._worker)
        else:
            raise ValueError(f"there is no event {event!r}")

    def on_control(self, head: Dict[str, Any], _: bytes) -> Any:
        """A command of the app's own."""
        from celery.utils.collections import AttributeDict
        from celery.worker.control import Panel

        state = AttributeDict(
            app=self._app, hostname=self._worker.hostname, consumer=self._consumer, tset=set
        )
        return Panel.data[head["name"]](state, **(head.get("arguments") or {}))

    def _message(self, run: Dict[str, Any], body: bytes) -> Any:
        return _message_class()(
            body=body,
            content_type=run["content_type"],
            content_encoding=run["content_encoding"] or "utf-8",
            delivery_info=dict(run.get("delivery_info") or {}),
            properties=dict(run.get("properties") or {}),
            headers=dict(run["headers"]),
            accept=self._accept,
        )

    def _request(self, run: Dict[str, Any], body: bytes) -> Any:
        from celery.utils.imports import symbol_by_name

        message = self._message(run, body)
        try:
            content = calls.decoded(body, run, self._accept)
        except Exception:
            # It would have been refused before it ran; what ends it here does not need its arguments.
            content = (), {}, {}
        task = self._app.tasks[run["task"]]
        request = symbol_by_name(task.Request)(
            message,
            on_ack=message.noted("ack"),
            on_reject=message.noted("reject"),
            hostname=self._worker.hostname,
            app=self._app,
            task=task,
            body=content,
            headers=dict(run["headers"], id=run["id"], task=run["task"]),
            decoded=True,
            utc=True,
        )
        return request, message


class _Consumer:
    """What handlers are given as Celery's consumer: who it is, with nothing to consume."""

    event_dispatcher = None
    connection_errors = ()
    pool = None
    timer = None

    def __init__(self, app: Any, worker: Any) -> None:
        self.app = app
        self.hostname = worker.hostname
        self.controller = worker
        self.initial_prefetch_count = worker.prefetch_multiplier
        self.pid = os.getppid()


def _message_class() -> Any:
    from kombu.message import Message

    class Noted(Message):  # type: ignore[misc]
        """A message that is settled by whoever reads what was noted here."""

        def __init__(self, **fields: Any) -> None:
            super().__init__(**fields)
            self.notes: List[str] = []

        def noted(self, what: str) -> Callable[..., None]:
            """What Celery's request is given to settle it with."""

            def note(_logger: Any, _errors: Any, requeue: bool = False) -> None:
                self.notes.append("requeue" if requeue else what)

            return note

        def ack_log_error(self, *_: Any, **__: Any) -> None:
            """Is told to whoever asked."""
            self.notes.append("ack")

        def reject_log_error(self, _logger: Any, _errors: Any, requeue: bool = False) -> None:
            """Is told to whoever asked."""
            self.notes.append("requeue" if requeue else "reject")

        def settled(self) -> Dict[str, Any]:
            """How Celery would have settled the delivery."""
            return {"settled": self.notes[0] if self.notes else None}

    return Noted


def _tell_of_failure(request: Any, error: Exception) -> None:
    from billiard.einfo import ExceptionInfo
    from celery import signals

    try:
        raise error
    except Exception:
        info = ExceptionInfo()
    signals.task_failure.send(
        sender=request.task,
        task_id=request.id,
        exception=error,
        args=request.args,
        kwargs=request.kwargs,
        traceback=info.traceback,
        einfo=info,
    )


def _noted(request: Any, name: str, note: Callable[[], None]) -> None:
    """Has `note` called when the method `name` of `request` says yes; until Celery 5.7 there is none."""
    method = getattr(request, name, None)
    if method is None:
        return

    def noted(*args: Any) -> Any:
        answer = method(*args)
        if answer:
            note()
        return answer

    setattr(request, name, noted)


@contextmanager
def _changed(task: Any, name: str, value: Any) -> Iterator[None]:
    missing = object()
    before = task.__dict__.get(name, missing)
    setattr(task, name, value)
    try:
        yield
    finally:
        if before is missing:
            delattr(task, name)
        else:
            setattr(task, name, before)


def become(app: Any, worker: Any, files: List[int], options: Dict[str, Any]) -> int:
    """What the process does from its fork to its end; gives the code to exit with."""
    from billiard import util

    channel = frames.Channel(files[0])
    try:
        util._run_after_forkers()
        app.set_current()
        loops.use(loops.Driver())
        if options["piped"]:
            piped.pipe(app, channel)
        hello = {"version": frames.VERSION, "pid": os.getpid()}
        channel.send(frames.record(frames.HELLO, 0, json.dumps(hello).encode()))
        return Service(app, worker, channel).run()
    except (BrokenPipeError, ConnectionResetError):
        # The worker has gone.
        return 0
    except Exception as error:
        channel.send(frames.record(frames.FAULT, 0, calls.said(errors.told(error)).encode()))
        return 1
