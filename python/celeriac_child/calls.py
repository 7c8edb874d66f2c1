"""One call: from the record that brings it to the conclusion that is told of it."""

from __future__ import annotations

import json
import time
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, Callable, Dict, NamedTuple, Optional

from . import frames, loops, piped, shortcuts

Tracer = Callable[..., Any]


class Prepared(NamedTuple):
    """A task as it is run here."""

    trace: Tracer
    hold: bool
    task: Any


class Conclusion(NamedTuple):
    """What is told of a call that has ended."""

    text: str
    #: With what the process has to end now, if it has.
    leave: Optional[int] = None


class Calls:
    """Runs calls by Celery's own tracer, any number at once."""

    def __init__(
        self, app: Any, node: str, channel: frames.Channel, clock: Callable[[], float] = time.monotonic
    ) -> None:
        from kombu.serialization import prepare_accept_content

        self._app = app
        self._clock = clock
        self._node = node
        self._channel = channel
        self._accept = prepare_accept_content(app.conf.accept_content)
        self._read_json = shortcuts.json_decoder() if "application/json" in self._accept else None
        self._prepared: Dict[str, Prepared] = {}
        self._warned: Dict[str, bool] = {}

    def run(self, seq: int, payload: bytes) -> "tuple[bytes, Conclusion]":
        """Runs the call of a RUN record; gives the records that end it, and how it ended."""
        return self.run_split(seq, *frames.split_head(payload))

    def prepared(self, name: str) -> Optional[Prepared]:
        """How a task is run here; `None` if nobody has registered it."""
        return self._prepared.get(name) or self._prepare(name)

    def run_split(self, seq: int, head: Dict[str, Any], body: bytes) -> "tuple[bytes, Conclusion]":
        """The same for a record whose head has been read."""
        name, id = head["task"], head["id"]
        prepared = self.prepared(name)
        outbox = piped.Outbox(self._channel, seq, id, prepared.hold if prepared else True)
        token = piped.current.set(outbox)
        try:
            opened = self.open(head, body)
            conclusion = opened if isinstance(opened, Conclusion) else self.conclude(prepared, name, id, opened)
        finally:
            piped.current.reset(token)
        return outbox.close() + frames.record(frames.DONE, seq, conclusion.text.encode()), conclusion

    def _prepare(self, name: str) -> Optional[Prepared]:
        from celery.app.trace import build_tracer

        app = self._app
        task = app._tasks.get(name)
        if task is None:
            return None
        loops.adopt(task)
        # Not before it is needed: a child that is forked for one call makes one tracer.
        task.__trace__ = build_tracer(name, task, app.loader, self._node, app=app, monotonic=self._clock)
        prepared = Prepared(task.__trace__, piped.stores_of(task)[0], task)
        self._prepared[name] = prepared
        return prepared

    def open(self, head: Dict[str, Any], body: bytes) -> "Dict[str, Any] | Conclusion":
        """The request of a call, as Celery has it; or how it ends because it cannot be read."""
        request: Dict[str, Any] = head["headers"]
        properties = head.get("properties") or {}
        request["properties"] = properties
        request["reply_to"] = properties.get("reply_to")
        request["correlation_id"] = properties.get("correlation_id")
        request["delivery_info"] = head.get("delivery_info") or {}
        request["hostname"] = self._node
        request["is_eager"] = False
        try:
            args, kwargs, embed = self._decoded(body, head)
        except Exception as error:
            return self._undecodable(error, head, body)
        request["args"] = args
        request["kwargs"] = kwargs
        _fill(request)
        if embed:
            request.update(embed)
        return request

    def conclude(self, prepared: Optional[Prepared], name: str, id: str, request: Dict[str, Any]) -> Conclusion:
        """Runs it."""
        if prepared is None:
            return self._unknown(name, id, request)
        try:
            value, info, runtime, text = prepared.trace(id, request["args"], request["kwargs"], request)
        except BaseException as error:
            return self._escaped(error, name, id, request)
        if info:
            return self._not_succeeded(value, name, id, request)
        if text is not None and text.startswith("<coroutine object "):
            self._never_awaited(name)
        return Conclusion(f'{{"end":"succeeded","runtime":{runtime or 0.0!r},"result":{quoted(said(text))}}}')

    def _decoded(self, body: bytes, head: Dict[str, Any]) -> Any:
        if self._read_json is not None and head["content_type"] == "application/json":
            content = self._read_json(body)
            if type(content) is list:
                return content
        return decoded(body, head, self._accept)

    def _not_succeeded(self, info: Any, name: str, id: str, request: Dict[str, Any]) -> Conclusion:
        from celery.exceptions import Ignore, Reject, Retry

        error = _unwrapped(info.exception)
        if isinstance(error, Retry):
            return _told("retried", exception=said_of(error.exc), traceback=info.traceback)
        if isinstance(error, Reject):
            return self._rejected(error, info, name, id, request)
        if isinstance(error, Ignore):
            return _told("ignored")
        if type(error).__name__ == "EncodeError" and "coroutine" in str(error):
            self._never_awaited(name)
        return _told("failed", exception=said_of(error), traceback=info.traceback)

    def _rejected(self, error: Any, info: Any, name: str, id: str, request: Dict[str, Any]) -> Conclusion:
        """Refused for good, a call has failed since Celery 5.7: its main process says so, here we do."""
        import celery
        from celery import signals
        from celery.app.task import Context

        task = self._app._tasks.get(name)
        if not error.requeue and task is not None and celery.VERSION >= (5, 7):
            context = Context(request)
            task.backend.mark_as_failure(id, error, request=context, store_result=_stores_errors(task, request))
            signals.task_failure.send(
                sender=task,
                task_id=id,
                exception=error,
                args=request["args"],
                kwargs=request["kwargs"],
                traceback=info.traceback,
                einfo=info,
            )
        return _told("rejected", requeue=bool(error.requeue), exception=said_of(error), traceback=info.traceback)

    def _escaped(self, error: BaseException, name: str, id: str, request: Dict[str, Any]) -> Conclusion:
        """What went through the tracer, which lets pass what ends a process."""
        from billiard.einfo import ExceptionInfo
        from celery.exceptions import Reject

        if is_terminated():
            raise error
        if isinstance(error, Reject):
            return self._rejected(error, ExceptionInfo(), name, id, request)
        if isinstance(error, loops.Cancelled):
            return _told("lost", reason="cancelled")
        if isinstance(error, MemoryError):
            return _told("lost", reason=f"Process got: {error}", recycle=True, leave=1)
        if isinstance(error, SystemExit):
            code = exit_code(error)
            return _told("lost", reason=f"Worker exited prematurely: exitcode {code}.", recycle=True, leave=code)
        if not isinstance(error, Exception):
            reason = f"Worker exited prematurely: {type(error).__name__}."
            return _told("lost", reason=reason, recycle=True, leave=1)
        # The tracer itself failed, for instance because the backend did.
        return self._failed(error, ExceptionInfo(), name, id, request)

    def _failed(self, error: Exception, info: Any, name: str, id: str, request: Dict[str, Any]) -> Conclusion:
        from celery import signals
        from celery.app.task import Context
        from celery.utils.log import get_logger

        logger = get_logger("celery.worker.request")
        task = self._app._tasks.get(name)
        try:
            backend = task.backend if task is not None else self._app.backend
            stores = task is None or _stores_errors(task, request)
            backend.mark_as_failure(id, error, request=Context(request), store_result=stores)
            signals.task_failure.send(
                sender=task,
                task_id=id,
                exception=error,
                args=request.get("args"),
                kwargs=request.get("kwargs"),
                traceback=info.traceback,
                einfo=info,
            )
        except Exception as second:
            logger.critical("Cannot store the failure of %s[%s]: %r", name, id, second, exc_info=True)
        logger.error("Task handler raised error: %r", error, exc_info=info.exc_info)
        return _told("failed", exception=said_of(error), traceback=info.traceback)

    def _unknown(self, name: str, id: str, request: Dict[str, Any]) -> Conclusion:
        from billiard.einfo import ExceptionInfo
        from celery.exceptions import NotRegistered

        try:
            raise NotRegistered(name)
        except NotRegistered as error:
            return self._failed(error, ExceptionInfo(), name, id, request)

    def _undecodable(self, error: Exception, head: Dict[str, Any], body: bytes) -> Conclusion:
        from celery.utils.log import get_logger
        from kombu.utils.encoding import safe_repr

        get_logger("celery.worker.consumer.consumer").critical(
            "Can't decode message body: %r [type:%r encoding:%r headers:%s]\n\nbody: %s",
            error,
            head.get("content_type"),
            head.get("content_encoding"),
            safe_repr({key: value for key, value in head["headers"].items() if key not in ("args", "kwargs")}),
            f"{safe_repr(body[:1024])} ({len(body)}b)",
            exc_info=1,
        )
        return _told("rejected", requeue=False, exception=said_of(error))

    def _never_awaited(self, name: str) -> None:
        from celery.utils.log import get_logger

        if self._warned.setdefault(name, False):
            return
        self._warned[name] = True
        get_logger("celery.worker").warning(
            "Task %s is a plain function that returns a coroutine, which nobody awaits: "
            "make it `async def` and await there, or run it with asyncio.run",
            name,
        )


def _fill(request: Dict[str, Any]) -> None:
    """Puts back the headers that brokers leave out because they say nothing."""
    if request.get("timelimit") is None:
        request["timelimit"] = [None, None]
    request.setdefault("stamps", {})
    if not request["args"]:
        request.setdefault("argsrepr", "()")
    if not request["kwargs"]:
        request.setdefault("kwargsrepr", "{}")


def decoded(body: bytes, head: Dict[str, Any], accept: Any) -> Any:
    """Arguments, keyword arguments and what follows the call."""
    from kombu.serialization import loads

    content = loads(body, head["content_type"], head["content_encoding"] or "utf-8", accept=accept)
    if isinstance(content, dict):
        # Protocol 1 keeps all of it in one map.
        embed = {key: content.get(key) for key in ("callbacks", "errbacks", "chord")}
        return content.get("args") or (), content.get("kwargs") or {}, dict(embed, chain=None)
    args, kwargs, embed = content
    return args, kwargs, embed


def said_of(error: Any) -> str:
    """`repr` of an exception, even if it has none."""
    from kombu.utils.encoding import safe_repr

    return said(safe_repr(error))


def said(text: Any) -> str:
    """Text that UTF-8 can hold."""
    if not isinstance(text, str):
        return "" if text is None else said(str(text))
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def exit_code(error: SystemExit) -> int:
    """What a process that `error` ends exits with."""
    if error.code is None:
        return 0
    return error.code if isinstance(error.code, int) else 1


def is_terminated() -> bool:
    """Whether a signal that asks this process to end has been handled."""
    from billiard import common

    return bool(common._should_have_exited[0])


def _stores_errors(task: Any, request: Dict[str, Any]) -> bool:
    ignored = request.get("ignore_result")
    if ignored is None:
        ignored = task.ignore_result
    return bool(not ignored or task.store_errors_even_if_ignored)


def _unwrapped(error: Any) -> Any:
    # Billiard wraps exceptions for the way between processes, which they do not go here.
    from billiard.einfo import ExceptionWithTraceback

    return error.exc if isinstance(error, ExceptionWithTraceback) else error


def _told(end: str, leave: Optional[int] = None, **fields: Any) -> Conclusion:
    for key in ("exception", "traceback", "reason"):
        if key in fields:
            fields[key] = said(fields[key])
    return Conclusion(json.dumps({"end": end, **fields}), leave)
