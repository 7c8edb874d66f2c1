"""What Celery and kombu do for each call, done with the same outcome in less time.

Each shortcut is taken only where the app has left the original in its place, and where both give the same for a
sample; otherwise the original is used.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any, Callable, Dict, Optional

#: Reads one value of JSON text from a position, without looking for what stands around it.
scan: Callable[[str, int], Any] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]


def install(app: Any) -> None:
    """Puts those in place that change the app itself; before the first fork."""
    _headers()
    _now(app)


def _headers() -> None:
    """`Context` looks for the headers of the user's own, by removing each name that is Celery's."""
    from celery.app.task import Context

    original = Context._get_custom_headers
    sample = {**dict.fromkeys(Context.__dict__), "lang": 1, "task": 2, "argsrepr": 3, "kwargsrepr": 4, "compression": 5}
    known = frozenset(sample)

    def get_custom_headers(self: Any, *args: Any, **kwargs: Any) -> Optional[Dict[str, Any]]:
        headers = dict(*args, **kwargs)
        return {name: headers[name] for name in headers.keys() - known} or None

    for tried in ({}, sample, {**sample, "mine": 1}, {"celeriac": 2, "id": 3}):
        if original(Context(), tried) != get_custom_headers(None, tried):
            return
    Context._get_custom_headers = get_custom_headers


def _now(app: Any) -> None:
    """The time of a result goes from UTC to the app's zone by way of two other times."""
    from celery import Celery

    if type(app).now is not Celery.now or "now" in vars(app):
        return
    zone = app.timezone
    before, between, after = app.now(), datetime.now(zone), app.now()
    if before <= between <= after and between.isoformat()[26:] == before.isoformat()[26:]:
        app.now = lambda: datetime.now(zone)


def json_decoder() -> Optional[Callable[[bytes], Any]]:
    """Reads a body of JSON, if the app reads JSON by kombu's own means."""
    from kombu.serialization import registry
    from kombu.utils import json as kombu

    if registry._decoders.get("application/json") is not kombu.loads or not hasattr(kombu, "object_hook"):
        return None
    # The original makes a decoder anew for each body.
    decode = json.JSONDecoder(object_hook=kombu.object_hook).decode
    sample = b' [{"a": [1.5, null, "\\u00e4"]}, {"__type__": "uuid", "__value__": {"hex": "%032x"}}] ' % 7
    if decode(sample.decode()) != kombu.loads(sample):
        return None
    return lambda body: decode(body.decode("utf-8"))


def json_encoder(serializer: str) -> Optional[Callable[[Any], str]]:
    """Writes a result as JSON, if the app writes JSON by kombu's own means."""
    from kombu.serialization import registry
    from kombu.utils import json as kombu

    codec = registry._encoders.get(serializer)
    if serializer != "json" or codec is None or codec.encoder is not kombu.dumps:
        return None
    encode = kombu.JSONEncoder().encode
    sample = [{"a": 1.5, "ä": [None, True]}, datetime(2000, 1, 2, tzinfo=timezone.utc), b"\xff"]
    if encode(sample) != kombu.dumps(sample):
        return None
    return encode  # type: ignore[no-any-return]


def result_meta(backend: Any) -> Optional[Callable[..., Dict[str, Any]]]:
    """Makes what is stored of a result, if results hold no more than usual."""
    from celery.backends.base import Backend

    app = backend.app
    if type(backend)._get_result_meta is not Backend._get_result_meta:
        return None
    if app.conf.find_value_for_key("extended", "result"):
        return None
    sample = backend._get_result_meta(result=1, state="SUCCESS", traceback=None, request=None)
    if list(sample) != ["status", "result", "traceback", "children", "date_done"]:
        return None
    # Until Celery 5.3 the time had no offset.
    date = (lambda: app.now().isoformat()) if "+" in sample["date_done"][19:] else _naive
    ready, children = backend.READY_STATES, backend.current_task_children

    def get_result_meta(result: Any, state: str, traceback: Any, request: Any) -> Dict[str, Any]:
        meta = {
            "status": state,
            "result": result,
            "traceback": traceback,
            "children": children(request),
            "date_done": date() if state in ready else None,
        }
        if request:
            if getattr(request, "group", None):
                meta["group_id"] = request.group
            if getattr(request, "parent_id", None):
                meta["parent_id"] = request.parent_id
        return meta

    return get_result_meta


def _naive() -> str:
    return datetime.now(timezone.utc).replace(tzinfo=None).isoformat()
