"""The app's logging as Celery's worker sets it up, and whether others may write its lines."""

from __future__ import annotations

import logging
import logging.handlers
import os
from typing import Any, Dict

from . import report as reports
from .json_lines import JsonLines


def report(app: Any, worker: Any) -> Dict[str, Any]:
    """The field `log` of the report."""
    root = logging.getLogger()
    return {
        "format": app.conf.worker_log_format,
        "task_format": app.conf.worker_task_log_format,
        "datefmt": app.conf.get("worker_log_datefmt"),
        "level": logging.getLevelName(root.level),
        "logfile": worker.logfile if isinstance(worker.logfile, str) else None,
        "colored": bool(app.log.supports_color(None, worker.logfile)),
        "is_default": _is_default(),
        # Django sets it by its own settings.
        "tz": os.environ.get("TZ"),
    }


def _is_default() -> bool:
    """Whether a line that the worker writes itself looks as if Python had written it."""
    from celery import signals
    from celery.app.defaults import DEFAULT_PROCESS_LOG_FMT
    from celery.utils.log import ColorFormatter

    for signal in (signals.setup_logging, signals.after_setup_logger, signals.after_setup_task_logger):
        if reports.listeners(signal):
            return False
    root = logging.getLogger()
    if root.filters or len(root.handlers) != 1:
        return False
    handler = root.handlers[0]
    formatter: Any = handler.formatter
    plain = type(handler) in (logging.StreamHandler, logging.handlers.WatchedFileHandler)
    if not plain or handler.filters:
        return False
    return type(formatter) is JsonLines or (
        type(formatter) is ColorFormatter
        and formatter._fmt == DEFAULT_PROCESS_LOG_FMT
        and formatter.datefmt is None
        and not formatter.use_color
    )
