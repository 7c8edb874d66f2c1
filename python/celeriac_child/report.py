"""What the worker has to know of the app, as one JSON object."""

from __future__ import annotations

import json
import platform
from datetime import datetime, timedelta
from typing import Any, Dict, List, Optional, Tuple

from . import logs, loops, parts

#: Settings whose values are programs or plans; who needs them has them in Python.
_LEFT_OUT = {"beat_schedule", "task_routes", "task_annotations", "task_queues", "security_key_password"}

#: Settings of the process, which are in no list of Celery's; they stand in for flags of the same names.
OF_THE_PROCESS = ("worker_logfile", "worker_pidfile", "worker_uid", "worker_gid", "worker_umask", "worker_executable")

#: What the key of a result begins with.
_RESULT_KEY = "celery-task-meta-"

#: Signals of Celery's main process, which the service sends.
_MAIN_SIGNALS = (
    "task_received",
    "task_revoked",
    "task_rejected",
    "task_unknown",
    "task_failure",
    "worker_ready",
    "worker_shutting_down",
    "worker_shutdown",
    "heartbeat_sent",
)


def report(app: Any, worker: Any, warnings: List[str]) -> Dict[str, Any]:
    """The report of spec/child.md."""
    import billiard
    import celery
    import kombu

    log = logs.report(app, worker)
    return {
        "versions": {
            "python": platform.python_version(),
            "celery": celery.__version__,
            "kombu": kombu.__version__,
            "billiard": billiard.__version__,
        },
        "app": {
            "main": app.main,
            "name": app.main or "__main__",
            "loader": _loader(app),
            "timezone": str(app.timezone),
            "address": f"{id(app):#x}",
        },
        "broker": _broker(app),
        "results": _results(app),
        "queues": [_queue(queue) for queue in app.amqp.queues.consume_from.values()],
        "default_queue": app.conf.task_default_queue,
        "tasks": [_task(name, task) for name, task in sorted(app.tasks.items())],
        "settings": _settings(app, worker),
        "listening": _listening(log),
        "log": log,
        "control": _control(),
        "warnings": warnings + parts.warnings(app) + _unknown(app),
    }


def plain(value: Any) -> Any:
    """`value` as JSON has it; what JSON has no word for becomes text."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return str(value)


def _loader(app: Any) -> Optional[str]:
    from celery.loaders.app import AppLoader
    from celery.utils.imports import qualname

    return None if isinstance(app.loader, AppLoader) else str(qualname(app.loader))


def _broker(app: Any) -> Dict[str, Any]:
    read, write = app.connection_for_read(), app.connection_for_write()
    conf = app.conf
    return {
        "read": _url(conf.broker_read_url, read),
        "write": _url(conf.broker_write_url, write),
        "shown": read.as_uri(),
        "transport": read.transport_cls if isinstance(read.transport_cls, str) else parts._path(read.transport_cls),
        "transport_options": plain(read.transport_options or {}),
        "use_ssl": plain(conf.broker_use_ssl),
        "login_method": read.login_method,
        "heartbeat": conf.broker_heartbeat,
        "connection_timeout": conf.broker_connection_timeout,
        "connection_retry": conf.broker_connection_retry,
        "connection_retry_on_startup": conf.get("broker_connection_retry_on_startup"),
        "connection_max_retries": conf.broker_connection_max_retries,
        "failover_strategy": plain(conf.broker_failover_strategy),
    }


def _url(given: Any, connection: Any) -> str:
    if isinstance(given, (list, tuple)):
        given = ";".join(given)
    if isinstance(given, str) and "://" in given:
        return given
    # From the settings of older times (broker_host, …), or Celery's default.
    return str(connection.as_uri(include_password=True))


def _results(app: Any) -> Dict[str, Any]:
    from celery.backends.base import DisabledBackend

    backend, conf = app.backend, app.conf
    url = getattr(backend, "url", None) or app.backend_cls or conf.result_backend
    connection = getattr(backend, "connparams", None) or {}
    if connection and not getattr(backend, "url", None):
        url = _redis_url(connection)
    return {
        "url": url if isinstance(url, str) else None,
        "shown": backend.as_uri(),
        "class": f"{type(backend).__module__}:{type(backend).__qualname__}",
        "transport_options": plain(conf.result_backend_transport_options or {}),
        "expires": plain(getattr(backend, "expires", None)),
        "failure_expires": plain(getattr(backend, "failure_expires", None)),
        "serializer": backend.serializer,
        "compression": conf.get("result_compression"),
        "persistent": plain(getattr(backend, "persistent", None)),
        "key_prefix": _key_prefix(backend),
        "use_ssl": plain(conf.redis_backend_use_ssl),
        "redis": plain({k: v for k, v in connection.items() if isinstance(v, (str, int, float, type(None)))}),
        "disabled": isinstance(backend, DisabledBackend),
    }


def _key_prefix(backend: Any) -> Optional[str]:
    """What stands before Celery's own keys of results; the versions make it of `global_keyprefix` in two ways."""
    key = getattr(backend, "task_keyprefix", None)
    key = key.decode() if isinstance(key, bytes) else key
    return key[: -len(_RESULT_KEY)] if isinstance(key, str) and key.endswith(_RESULT_KEY) else None


def _redis_url(connection: Dict[str, Any]) -> str:
    from urllib.parse import quote

    user = quote(connection.get("username") or "", safe="")
    secret = connection.get("password")
    login = f"{user}:{quote(secret, safe='')}@" if secret else ""
    host, port = connection.get("host") or "localhost", connection.get("port") or 6379
    return f"redis://{login}{host}:{port}/{connection.get('db') or 0}"


def _queue(queue: Any) -> Dict[str, Any]:
    return {
        "name": queue.name,
        "routing_key": queue.routing_key,
        "exchange": _exchange(queue.exchange),
        "durable": queue.durable,
        "auto_delete": queue.auto_delete,
        "exclusive": queue.exclusive,
        "no_ack": queue.no_ack,
        "expires": queue.expires,
        "message_ttl": queue.message_ttl,
        "max_length": queue.max_length,
        "max_length_bytes": queue.max_length_bytes,
        "max_priority": queue.max_priority,
        "queue_arguments": plain(queue.queue_arguments),
        "binding_arguments": plain(queue.binding_arguments),
        "consumer_arguments": plain(queue.consumer_arguments),
        "alias": queue.alias,
        "no_declare": queue.no_declare,
        "bindings": [
            {
                "exchange": _exchange(binding.exchange),
                "routing_key": binding.routing_key,
                "arguments": plain(binding.arguments),
            }
            for binding in queue.bindings or ()
        ],
    }


def _exchange(exchange: Any) -> Dict[str, Any]:
    if exchange is None:
        # The one that has no name.
        return {"name": "", "type": "direct", "durable": True, "auto_delete": False, "arguments": None}
    return {
        "name": exchange.name,
        "type": exchange.type,
        "durable": exchange.durable,
        "auto_delete": exchange.auto_delete,
        "arguments": plain(exchange.arguments),
    }


def _task(name: str, task: Any) -> Dict[str, Any]:
    # One setting until Celery 5.7, which has two.
    both = getattr(task, "acks_on_failure_or_timeout", True)
    on_failure, on_timeout = getattr(task, "acks_on_failure", None), getattr(task, "acks_on_timeout", None)
    return {
        "name": name,
        "acks_late": bool(task.acks_late),
        "acks_on_failure": bool(both if on_failure is None else on_failure),
        "acks_on_timeout": bool(both if on_timeout is None else on_timeout),
        "reject_on_worker_lost": bool(task.reject_on_worker_lost),
        "ignore_result": bool(task.ignore_result),
        "store_errors_even_if_ignored": bool(task.store_errors_even_if_ignored),
        "track_started": bool(task.track_started),
        "send_events": bool(task.send_events),
        "rate_limit": plain(task.rate_limit),
        "time_limit": plain(task.time_limit),
        "soft_time_limit": plain(task.soft_time_limit),
        "max_retries": plain(task.max_retries),
        "is_async": loops.is_async(task),
    }


def _settings(app: Any, worker: Any) -> Dict[str, Any]:
    from celery.app.defaults import DEFAULTS

    conf = app.conf
    found = {}
    for key in (*DEFAULTS, *OF_THE_PROCESS):
        if key in _LEFT_OUT:
            continue
        try:
            found[key] = plain(conf.get(key))
        except Exception:
            # A setting that raises when it is read fails whoever needs it, with its own words.
            continue
    # What the command line said, or the handlers of signals, has come over the settings.
    for key, attribute in (
        ("worker_concurrency", "concurrency"),
        ("worker_send_task_events", "task_events"),
        ("worker_prefetch_multiplier", "prefetch_multiplier"),
        ("worker_max_tasks_per_child", "max_tasks_per_child"),
        ("worker_max_memory_per_child", "max_memory_per_child"),
        ("worker_disable_rate_limits", "disable_rate_limits"),
        ("worker_state_db", "statedb"),
        ("worker_lost_wait", "worker_lost_wait"),
        ("task_time_limit", "time_limit"),
        ("task_soft_time_limit", "soft_time_limit"),
        ("worker_redirect_stdouts", "redirect_stdouts"),
        ("worker_redirect_stdouts_level", "redirect_stdouts_level"),
        ("worker_autoscale", "autoscale"),
        ("worker_optimization", "optimization"),
    ):
        if getattr(worker, attribute, None) is not None:
            found[key] = plain(getattr(worker, attribute))
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def _listening(log: Dict[str, Any]) -> List[str]:
    from celery import signals

    found = [name for name in _MAIN_SIGNALS if listeners(getattr(signals, name))]
    if not log["is_default"] and "task_received" not in found:
        # The line that says so is for the service to write, with the app's own logging.
        found.append("task_received")
    return found


def listeners(signal: Any) -> List[Any]:
    """The handlers of `signal` that are neither Celery's own nor ours."""
    found = []
    for _, receiver in signal.receivers or ():
        if hasattr(receiver, "__call__") and type(receiver).__name__ in ("ReferenceType", "WeakMethod", "ref"):
            receiver = receiver()
        module = getattr(receiver, "__module__", None) or ""
        if receiver is not None and module.partition(".")[0] not in ("celery", "kombu", "celeriac_child"):
            found.append(receiver)
    return found


def _control() -> List[str]:
    from celery.worker.control import Panel

    return sorted(name for name, handler in Panel.data.items() if handler.__module__ != "celery.worker.control")


def _unknown(app: Any) -> List[str]:
    """Warnings for settings that look like Celery's, and are none."""
    from celery.app.defaults import DEFAULTS, NAMESPACES

    spaces = tuple(name + "_" for name in NAMESPACES)
    try:
        given = {key for changed in app.conf.maps[:-1] for key in dict(changed)}
    except Exception:
        return []
    old = {key for key in given if key.isupper()}
    known = {*DEFAULTS, *OF_THE_PROCESS}
    unknown = sorted(key for key in given - old if key.startswith(spaces) and key not in known)
    known_elsewhere: Tuple[str, ...] = ("redis_", "beat_", "database_")
    return [f"there is no setting {key}: it has no effect" for key in unknown if not key.startswith(known_elsewhere)]
