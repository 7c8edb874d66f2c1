"""The app as a Celery worker would set it up before it has children."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any, Dict, List, Tuple

from . import errors, json_lines, parts
from .errors import Failed

OLDEST = (5, 3)

#: Celery's name of the pool that is most like ours, for handlers that ask.
_POOLS = {
    "prefork": "prefork",
    "processes": "prefork",
    "solo": "solo",
    "threads": "threads",
    "coroutines": "threads",
    "asyncio": "threads",
    "aio": "threads",
}

#: Names of the command line that are no option of the worker's own.
_NOT_OPTIONS = {"version", "skip_checks", "app", "workdir", "argv", "broker", "result_backend", "loader", "config"}


def load(wanted: Dict[str, Any]) -> Tuple[Any, Any]:
    """Imports the app and sends what a worker sends at its start; gives the app and its worker."""
    _environment(wanted)
    app = _found(wanted.get("app"))
    try:
        worker = _set_up(app, wanted)
    except Failed:
        raise
    except ImportError as error:
        raise parts.of_broker(app, error) or errors.of_import(error, wanted.get("app") or "the app") from error
    except Exception as error:
        raise parts.of_broker(app, error) or of_settings(error) from error
    parts.refuse_replaced(app, worker)
    return app, worker


def _environment(wanted: Dict[str, Any]) -> None:
    # What Celery's own command line sets before it looks for the app.
    for field, variable in (
        ("loader", "CELERY_LOADER"),
        ("broker", "CELERY_BROKER_URL"),
        ("result_backend", "CELERY_RESULT_BACKEND"),
        ("config", "CELERY_CONFIG_MODULE"),
    ):
        if wanted.get(field):
            os.environ[variable] = wanted[field]
    if wanted.get("skip_checks"):
        os.environ["CELERY_SKIP_CHECKS"] = "true"
    if wanted.get("workdir"):
        try:
            os.chdir(wanted["workdir"])
        except OSError as error:
            raise Failed("import", "the folder of --workdir cannot be entered", error) from error
    if wanted.get("argv"):
        sys.argv[:] = wanted["argv"]


def _found(name: Any) -> Any:
    try:
        import celery
    except ModuleNotFoundError as error:
        raise errors.no_celery(error) from error
    version = tuple(int(part) for part in celery.__version__.split(".")[:2])
    if version < OLDEST:
        raise Failed("refused", f"this is Celery {celery.__version__}; celeriac runs apps of Celery 5.3 and later")
    from celery.app.utils import find_app

    if not name:
        return celery.current_app._get_current_object()
    try:
        found = find_app(name)
    except AttributeError as error:
        if "partially initialized" in str(error):
            raise errors.of_import(error, name) from error
        raise Failed("no_app", _no_app(name), error) from error
    except Exception as error:
        raise errors.of_import(error, name) from error
    if callable(found) and not isinstance(found, celery.Celery) and not hasattr(found, "conf"):
        # `module:factory`.
        try:
            found = found()
        except Exception as error:
            raise errors.of_import(error, name) from error
    # Flask's way is to keep the Celery app among the extensions of its own.
    extensions = getattr(found, "extensions", None)
    if isinstance(extensions, dict) and "celery" in extensions:
        found = extensions["celery"]
    if not hasattr(found, "conf") or not hasattr(found, "tasks"):
        raise Failed("no_app", f"`{name}` is {type(found).__name__!r}, not a Celery app: {_no_app(name)}")
    return found


def _no_app(name: str) -> str:
    module = name.partition(":")[0]
    return f"name the app within the module, as in -A {module}:app; it is looked for as `app`, then as `celery`"


def _set_up(app: Any, wanted: Dict[str, Any]) -> Any:
    from celery.apps.worker import Worker

    class Blueprint:
        """In place of the steps that Celery's worker is made of, which celeriac brings itself."""

        state = None

        def __init__(self, **_: Any) -> None:
            pass

        def apply(self, worker: Any, **_: Any) -> None:
            """Adds nothing."""

        def send_all(self, *_: Any, **__: Any) -> None:
            """Has nobody to send to."""

    class Stand(Worker):  # type: ignore[misc]
        """Celery's worker with all that it does before its parts are started."""

        consumer = None

        def __reduce__(self) -> Any:
            return (str, ("worker",))

    _mask(app, wanted)
    Stand.app = app
    Stand.Blueprint = Blueprint
    Stand.__name__ = Stand.__qualname__ = "Worker"
    if wanted.get("settings"):
        app.config_from_cmdline(wanted["settings"], namespace="worker")
    if wanted.get("log_format") == "json":
        json_lines.install()
    worker = Stand(hostname=wanted.get("node"), **_options(app, wanted))
    _started(app, worker)
    return worker


def _mask(app: Any, wanted: Dict[str, Any]) -> None:
    mask = app.conf.get("worker_umask")
    if mask is None or (wanted.get("options") or {}).get("umask") is not None:
        return
    if isinstance(mask, str):
        mask = int(mask, 8 if mask.startswith("0") else 10)
    os.umask(mask)


def _options(app: Any, wanted: Dict[str, Any]) -> Dict[str, Any]:
    """What `app.Worker` is given by Celery's own command line."""
    options = dict(wanted.get("options") or {})
    for name in ("concurrency", "loglevel", "logfile", "include", "queues", "exclude_queues"):
        if wanted.get(name) is not None:
            options[name] = wanted[name]
    for name in _NOT_OPTIONS | {"hostname", "detach", "pidfile", "uid", "gid", "umask", "pool"}:
        options.pop(name, None)
    options["pool_cls"] = _POOLS.get(wanted.get("pool") or "prefork", wanted.get("pool"))
    if wanted.get("colour") is not None:
        options["no_color"] = not wanted["colour"]
    options.setdefault("loglevel", "WARNING")
    options.setdefault("logfile", app.conf.get("worker_logfile"))
    if options.get("disable_prefetch") is not None:
        app.conf.worker_disable_prefetch = options.pop("disable_prefetch")
    return {name: value for name, value in options.items() if value is not None}


def _started(app: Any, worker: Any) -> None:
    # What Celery's worker does in its `on_start`, less what the worker in Rust does.
    from celery import signals

    signals.celeryd_after_setup.send(sender=worker.hostname, instance=worker, conf=app.conf)
    if not worker._custom_logging and worker.redirect_stdouts:
        app.log.redirect_stdouts(worker.redirect_stdouts_level)
    source = app._config_source
    if not (isinstance(source, str) and source.lower() == "django.conf:settings"):
        app.conf.maybe_warn_deprecated_settings()


def of_settings(error: Exception) -> Failed:
    """What the app's settings came to when they were used."""
    from celery.exceptions import ImproperlyConfigured, SecurityError

    if isinstance(error, ImportError):
        return Failed("settings", "a setting names a module that cannot be imported", error)
    if isinstance(error, SecurityError):
        return Failed("settings", "run it as another user than root, or set C_FORCE_ROOT", error)
    if isinstance(error, (ImproperlyConfigured, KeyError, ValueError)):
        return Failed("settings", "the app's settings do not fit together: the last line says how", error)
    return Failed("error", "the app raised this while it was set up, as it would under `celery worker`", error)


def warned(during: Any) -> Tuple[Any, List[str]]:
    """What `during` gives, and the warnings that were raised meanwhile."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        value = during()
    return value, [str(warning.message) for warning in caught]
