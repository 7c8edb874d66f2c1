"""Apps that replace parts of Celery's worker: recognised, and refused with the reason."""

from __future__ import annotations

import os
from typing import Any, List, Optional

from .errors import Failed

#: The brokers that the worker may have a driver of, by the schemes of their URLs.
_SPOKEN = ("", "redis", "rediss", "sentinel", "amqp", "amqps", "pyamqp", "librabbitmq", "py-amqp")


def refuse_replaced(app: Any, worker: Any) -> None:
    """Refuses an app whose tasks could not run here as they do under Celery's own worker.

    Raises `Failed` with all that stands in the way.
    """
    found = list(_replaced(app, worker))
    if found:
        advice = "celeriac has a worker of its own, so it cannot run this app: " + "; ".join(found)
        raise Failed("refused", advice)


def of_broker(app: Any, error: Exception) -> Optional[Failed]:
    """The reason that stands behind an error of a broker that Python has no client of, and we no driver."""
    url = app.conf.get("broker_read_url") or app.conf.get("broker_url") or ""
    url = url[0] if isinstance(url, (list, tuple)) and url else url
    scheme = str(url).partition(":")[0].partition("+")[0]
    if scheme in _SPOKEN or "://" not in str(url):
        return None
    advice = (
        f"the app's broker is `{scheme}:`, which this worker does not speak: "
        "use Redis or RabbitMQ, or run this app with `celery worker` as before"
    )
    return Failed("refused", advice, error)


def warnings(app: Any) -> List[str]:
    """What the app has replaced that is not used here, and need not be."""
    found = []
    for setting in ("worker_autoscaler", "worker_timer"):
        if _is_changed(app, setting):
            found.append(f"{setting} = {app.conf[setting]!r} is not used: celeriac has its own")
    for name, task in sorted(app.tasks.items()):
        if _path(task.Request) != "celery.worker.request.Request":
            found.append(
                f"task {name} has a Request of its own: it is used for what the worker ends itself "
                "(time limits, lost children, revoked calls), not to run the task"
            )
    return found


def _replaced(app: Any, worker: Any) -> List[str]:
    found = []
    for part, what in (("worker", "the worker"), ("consumer", "the consumer")):
        steps = [_path(step) for step in app.steps[part]]
        if steps:
            found.append(f"it adds steps to {what} ({', '.join(sorted(steps))})")
    if _is_changed(app, "worker_consumer"):
        found.append(f"worker_consumer is {app.conf.worker_consumer!r}")
    if app.conf.worker_agent:
        found.append(f"worker_agent is {app.conf.worker_agent!r}")
    custom = os.environ.get("CELERY_CUSTOM_WORKER_POOL")
    if custom:
        found.append(f"CELERY_CUSTOM_WORKER_POOL is {custom!r}")
    pool = app.conf.worker_pool
    if not isinstance(pool, str) or ("." in pool or ":" in pool):
        if not _path(pool).startswith("celery.concurrency."):
            found.append(f"worker_pool is {_path(pool)!r}")
    replaced = [_path(cls) for cls in type(worker).__mro__[1:] if not _is_celerys(cls)]
    if replaced:
        found.append(f"its worker is {replaced[0]}")
    found.extend(_strategies(app))
    return found


def _strategies(app: Any) -> List[str]:
    found = []
    for name, task in sorted(app.tasks.items()):
        if _path(task.Strategy) == "celery.worker.strategy.default":
            continue
        if any(cls.__module__.partition(".")[0] == "celery_batches" for cls in type(task).__mro__):
            found.append(f"task {name} takes many messages at once (celery-batches)")
        else:
            found.append(f"task {name} has a Strategy of its own ({_path(task.Strategy)})")
    return found


def _is_changed(app: Any, setting: str) -> bool:
    from celery.app.defaults import DEFAULTS

    return bool(app.conf[setting] != DEFAULTS.get(setting))


def _is_celerys(cls: type) -> bool:
    return cls is object or cls.__module__.partition(".")[0] == "celery"


def _path(thing: Any) -> str:
    """Where a class, a function or a name of one is, dotted."""
    if isinstance(thing, str):
        return thing.replace(":", ".")
    owner = thing if hasattr(thing, "__qualname__") else type(thing)
    module, name = owner.__module__, owner.__qualname__
    # Celery has the module in the names of its steps.
    return name if name.startswith(f"{module}.") else f"{module}.{name}"
