"""Lines of logs as JSON objects, of the shape that programs in Rust write."""

from __future__ import annotations

import json
import logging
import math
from datetime import datetime, timezone
from typing import Any, Dict

#: What Celery's own lines say of a call, less its arguments, and what it is called here.
_OF_CALLS = {
    "id": "task.id",
    "name": "task.name",
    "runtime": "runtime",
    "return_value": "return_value",
    "exc": "exception",
}

#: What every record has, and what its message is made of; Celery's `data` holds arguments.
_USUAL = {*logging.makeLogRecord({}).__dict__, "message", "asctime", "data", "task_id", "task_name"}

#: How deep values stand in each other, the line included; below that they are told by their `repr`.
_DEEPEST = 8


class JsonLines(logging.Formatter):
    """In place of Celery's formatters."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {"message": record.getMessage(), **_call(record)}
        if record.exc_info and record.exc_info[0]:
            fields.setdefault("exception", _repr(record.exc_info[1]))
            fields["traceback"] = self.formatException(record.exc_info)
        if record.stack_info:
            fields["stack"] = self.formatStack(record.stack_info)
        for name, value in record.__dict__.items():
            if name not in _USUAL:
                fields.setdefault(name, value)
        line = {
            "timestamp": _time(record.created),
            "level": record.levelname,
            "fields": fields,
            "target": record.name,
            "process": record.processName,
            "pid": record.process,
        }
        return json.dumps(_plain(line))


def install() -> None:
    """Has all lines written so that Celery would write, and not those of formatters of the app's own."""
    from celery import signals

    # The app's handlers were connected before, and have had their say.
    signals.after_setup_logger.connect(_replace, weak=False)
    signals.after_setup_task_logger.connect(_replace, weak=False)


def _replace(logger: logging.Logger, **_: Any) -> None:
    from celery.utils.log import ColorFormatter, get_multiprocessing_logger

    for one in (logger, get_multiprocessing_logger()):
        for handler in one.handlers if one else ():
            if isinstance(handler.formatter, ColorFormatter):
                handler.setFormatter(JsonLines())


def _call(record: logging.LogRecord) -> Dict[str, Any]:
    """What is known of the call that the record is about, or that it was made in."""
    from celery._state import get_current_task

    if record.name.startswith("celery.") and isinstance(record.args, dict):
        return {ours: record.args[name] for name, ours in _OF_CALLS.items() if name in record.args}
    task = get_current_task()
    if task is None or not task.request.id:
        return {}
    return {"task.id": task.request.id, "task.name": task.name}


def _time(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _plain(value: Any, depth: int = 0) -> Any:
    """`value` as every reader of JSON takes it; what JSON has no word for becomes its `repr`."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        # Halves of surrogate pairs are no text to others.
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, float) and math.isfinite(value):
        return value
    if type(value) is dict and depth < _DEEPEST:
        return {_plain(str(key)): _plain(item, depth + 1) for key, item in value.items()}
    if type(value) in (list, tuple) and depth < _DEEPEST:
        return [_plain(item, depth + 1) for item in value]
    return _plain(_repr(value))


def _repr(value: Any) -> str:
    from kombu.utils.encoding import safe_repr

    return str(safe_repr(value))
