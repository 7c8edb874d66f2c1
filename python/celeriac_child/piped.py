"""Results that go to the worker, which stores them in batches, instead of to the backend itself.

The app's backend becomes an object of a subclass made of its own class. Only the write of a result is another:
reading, chords and groups are the backend's, over its own connection. A part of a chord is stored by the backend
itself, before it is counted, so that a chord joins what is stored.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from contextvars import ContextVar
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, Dict, List, Optional, Tuple

from . import frames, shortcuts

#: How many results are remembered that this process has written and its backend may not have yet.
_REMEMBERED = 64

#: For how long, in seconds. Another process may have stored more by then.
_RECENTLY = 1.0

#: States that a call ends with.
_FINAL = frozenset(("SUCCESS", "FAILURE", "REVOKED"))

#: States after which a call says no more than that it has ended.
_LAST = frozenset(("SUCCESS", "FAILURE", "RETRY", "REVOKED"))


class Outbox:
    """The results of one call, on their way to the worker."""

    __slots__ = ("channel", "held", "hold", "id", "open", "seq")

    def __init__(self, channel: frames.Channel, seq: int, id: str, hold: bool) -> None:
        self.channel = channel
        self.seq = seq
        self.id = id
        self.held = b""
        self.hold = hold
        self.open = True

    def put(self, head: bytes, id: str, state: str, payload: bytes) -> None:
        """Sends a result; the last one of a call waits for its conclusion, if nobody may ask for it sooner."""
        seq = self.seq if self.open else 0
        stored = frames.record(frames.STORE, seq, frames.with_head(head, payload))
        if self.open and (self.held or (self.hold and id == self.id and state in _LAST)):
            self.held += stored
        else:
            self.channel.send(stored)

    def close(self) -> bytes:
        """What is still to be sent; later results belong to no call."""
        self.open = False
        return self.held


#: The call that runs here.
current: ContextVar[Optional[Outbox]] = ContextVar("celeriac_outbox", default=None)


def pipe(app: Any, channel: frames.Channel) -> None:
    """Has the results of the app's own backend sent over `channel`, where its class is known."""
    original = app._get_backend

    def get_backend() -> Any:
        backend = original()
        _convert(backend, channel)
        return backend

    app._get_backend = get_backend
    made = app._backend
    if made is not None:
        _convert(made, channel)


def can_pipe(backend: Any) -> bool:
    """Whether it is known what this backend's writes come to."""
    return _mixin(backend) is not None


def _convert(backend: Any, channel: frames.Channel) -> None:
    mixin = _mixin(backend)
    if mixin is None:
        return
    cls = type(backend)
    backend.__class__ = type(cls.__name__, (mixin, cls), {"__module__": cls.__module__})
    backend.outside = Outbox(channel, 0, "", False)
    backend.outside.open = False
    backend.recent = OrderedDict()
    if mixin is PipedKeyValues:
        backend.prepare_pipe()


def _mixin(backend: Any) -> Optional[type]:
    from celery.backends.base import Backend, BaseKeyValueStoreBackend

    cls = type(backend)
    if issubclass(cls, Piped):
        return None
    if _is_of(cls, "celery.backends.redis", "RedisBackend"):
        ours = BaseKeyValueStoreBackend._store_result, Backend.store_result
        if (cls._store_result, cls.store_result) == ours:
            return PipedKeyValues
    if _is_of(cls, "celery.backends.rpc", "RPCBackend"):
        from celery.backends.rpc import RPCBackend

        if cls.store_result is RPCBackend.store_result:
            return PipedMessages
    return None


def _is_of(cls: type, module: str, name: str) -> bool:
    # By name, because importing a backend needs the client library of its store.
    return any(base.__module__ == module and base.__name__ == name for base in cls.__mro__)


class Piped:
    """What the backends of both kinds share."""

    outside: Outbox
    recent: "OrderedDict[str, Tuple[Any, str, float]]"

    def _send(self, head: str, id: str, state: str, payload: Any) -> None:
        if isinstance(payload, str):
            payload = payload.encode("utf-8")
        (current.get() or self.outside).put(head.encode(), id, state, bytes(payload))

    def _remember(self, id: str, payload: Any, state: str) -> None:
        recent = self.recent
        recent[id] = payload, state, time.monotonic()
        recent.move_to_end(id)
        if len(recent) > _REMEMBERED:
            recent.popitem(last=False)

    def _remembered(self, id: str) -> Any:
        """What was written here for the call that runs, or as the end of one just now."""
        found = self.recent.get(id)
        if found is None:
            return None
        payload, state, when = found
        running = current.get()
        if running is not None and running.open and running.id == id:
            return payload
        return payload if state in _FINAL and time.monotonic() - when < _RECENTLY else None


class PipedKeyValues(Piped):
    """A store of keys and values: Redis."""

    def prepare_pipe(self: Any) -> None:
        """Looks which shortcuts can be taken."""
        self._quick_meta = shortcuts.result_meta(self)
        self._quick_json = None if self._compresses() else shortcuts.json_encoder(self.serializer)
        expires = self.expires or None
        failure_expires = getattr(self, "failure_expires", expires) or None
        kind = quoted(self.content_type)
        self._rest = {
            failed: f',"content_type":{kind},"ttl":{json.dumps(ttl)},"reply_to":null,"correlation_id":null}}'
            for failed, ttl in ((False, expires), (True, failure_expires))
        }

    def _compresses(self: Any) -> bool:
        from celery.backends.base import Backend

        return bool(getattr(self, "compression", None)) or self.encode.__func__ is not Backend.encode

    def _encoded(self: Any, meta: Dict[str, Any]) -> Any:
        if self._quick_json is not None:
            try:
                return self._quick_json(meta)
            except Exception:
                # Again by the original, which says in its own words what is wrong.
                pass
        return self.encode(meta)

    def _store_result(
        self: Any,
        task_id: str,
        result: Any,
        state: str,
        traceback: Any = None,
        request: Any = None,
        **kwargs: Any,
    ) -> Any:
        if request is not None and request.chord:
            self.recent.pop(task_id, None)
            return super()._store_result(task_id, result, state, traceback, request=request, **kwargs)  # type: ignore[misc]
        make = self._quick_meta or self._get_result_meta
        meta = make(result=result, state=state, traceback=traceback, request=request)
        meta["task_id"] = task_id = str(task_id)
        payload = self._encoded(meta)
        self._remember(task_id, payload, state)
        head = f'{{"id":{quoted(task_id)},"state":{quoted(state)}{self._rest[state == "FAILURE"]}'
        self._send(head, task_id, state, payload)
        return result

    def _get_task_meta_for(self: Any, task_id: str) -> Any:
        payload = self._remembered(str(task_id))
        if payload is not None:
            return self.decode_result(payload)
        return super()._get_task_meta_for(task_id)  # type: ignore[misc]

    def _forget(self: Any, task_id: str) -> Any:
        self.recent.pop(str(task_id), None)
        return super()._forget(task_id)  # type: ignore[misc]


class PipedMessages(Piped):
    """Results as messages to whoever sent the call: rpc."""

    def store_result(
        self: Any,
        task_id: str,
        result: Any,
        state: str,
        traceback: Any = None,
        request: Any = None,
        **kwargs: Any,
    ) -> Any:
        reply_to, correlation_id = self.destination_for(task_id, request)
        if not reply_to:
            return None
        content_type, _, payload = self._encode(self._to_result(task_id, state, result, traceback, request))
        head = {
            "id": task_id,
            "state": state,
            "content_type": content_type,
            "ttl": None,
            "reply_to": reply_to,
            "correlation_id": correlation_id,
        }
        self._send(json.dumps(head), task_id, state, payload)
        return result


def stores_of(task: Any) -> Tuple[bool, List[str]]:
    """Whether the last result may wait for the conclusion, and what speaks against it.

    Handlers that run between the two may ask for the result, or tell others of it.
    """
    from celery import signals
    from celery.app.trace import task_has_custom

    from .report import listeners

    found = [name for name in ("on_success", "on_failure", "on_retry", "after_return") if task_has_custom(task, name)]
    for name in ("task_success", "task_failure", "task_retry", "task_postrun"):
        if listeners(getattr(signals, name)):
            found.append(name)
    return not found, found
