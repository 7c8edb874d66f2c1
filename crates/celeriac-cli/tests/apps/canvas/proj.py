"""An app that uses what Celery's guides show; run by two kinds of worker, it must come to the same ends."""
import os
import time
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

from celery import Celery, Task, group, signals
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from celery.result import allow_join_result
from kombu import Exchange, Queue

FOLDER = os.environ["FOLDER"]
QUEUE = os.environ["QUEUE"]
ON_REDIS = os.environ["BROKER"].startswith("redis")

app = Celery("proj", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
app.conf.update(
    task_default_queue=QUEUE,
    task_queues=[
        Queue(QUEUE, Exchange(QUEUE), routing_key=QUEUE),
        Queue(f"{QUEUE}-topic", Exchange(f"{QUEUE}-topic", type="topic"), routing_key="a.*"),
    ],
    task_routes={"proj.elsewhere": {"exchange": f"{QUEUE}-topic", "exchange_type": "topic", "routing_key": "a.b"}},
    accept_content=["json", "pickle"],
    result_extended=True,
    task_track_started=os.environ.get("TRACK") == "1",
    broker_transport_options={"global_keyprefix": os.environ["PREFIX"]} if ON_REDIS else {},
    result_backend_transport_options={"global_keyprefix": os.environ["PREFIX"]},
)


def note(name, text):
    """Leaves a line for the test to read."""
    with open(os.path.join(FOLDER, name), "a") as file:
        file.write(f"{text}\n")


def notes(name):
    """The lines that were left."""
    try:
        with open(os.path.join(FOLDER, name)) as file:
            return file.read().splitlines()
    except FileNotFoundError:
        return []


@app.task
def add(x, y, more=0):
    return x + y + more


@app.task
def double(x):
    return x * 2


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def gather(results, tag):
    return [tag, results]


@app.task
def fail(text="broken"):
    raise ValueError(text)


@app.task
def fail_with(x, text):
    raise LookupError(f"{text} {x}")


class Refused(Exception):
    """Keeps its arguments, and something besides."""

    def __init__(self, code, reason):
        super().__init__(code, reason)
        self.code = code


@app.task
def refuse(code, reason):
    try:
        {}["missing"]
    except KeyError as error:
        raise Refused(code, reason) from error


class Odd(Exception):
    def __init__(self, first, *, second):
        super().__init__(first)
        self.second = second


@app.task
def raise_odd():
    raise Odd("one", second=2)


@app.task
def raise_unserialisable():
    raise ValueError(object, {1, 2}, "text")


@app.task
def unserialisable():
    return {"x": object()}


@app.task
def values():
    return {
        "date": date(2024, 2, 29),
        "datetime": datetime(2024, 2, 29, 12, 30, tzinfo=timezone.utc),
        "decimal": Decimal("1.50"),
        "uuid": UUID(int=7),
        "bytes": b"\x00\xff",
        "text": "\u00e4\U0001f600",
        "none": None,
        "nested": [{"a": (1, 2)}],
    }


@app.task
def echo(*args, **kwargs):
    return [list(args), kwargs]


@app.task(bind=True, max_retries=3)
def stubborn(self, times, text="not yet"):
    if self.request.retries < times:
        raise self.retry(countdown=0.1, exc=ValueError(text))
    return [self.request.retries, self.request.called_directly, self.request.is_eager]


@app.task(bind=True, max_retries=1)
def gives_up(self):
    raise self.retry(countdown=0.1)


@app.task(bind=True, max_retries=5)
def changes_its_arguments(self, seen, last=None):
    if len(seen) < 3:
        raise self.retry(args=(seen + [len(seen)],), kwargs={"last": "again"}, countdown=0.1)
    return [seen, last]


@app.task(autoretry_for=(OSError,), retry_kwargs={"max_retries": 2, "countdown": 0.1})
def restless(name):
    note(name, "tried")
    raise OSError(2, "never")


@app.task(bind=True, autoretry_for=(OSError,), dont_autoretry_for=(FileNotFoundError,), default_retry_delay=0.1)
def picky(self):
    raise FileNotFoundError(2, "no such thing")


@app.task(bind=True)
def replaced(self, x):
    raise self.replace(add.s(x, 100))


@app.task(bind=True)
def replaced_by_chain(self, x):
    raise self.replace(add.s(x, 1) | double.s() | add.s(10))


@app.task(bind=True)
def replaced_by_group(self, count):
    raise self.replace(_group(count))


def _group(count):
    return group(add.s(i, i) for i in range(count))


@app.task(bind=True)
def replaced_by_chord(self, count):
    raise self.replace(_group(count) | total.s())


@app.task(bind=True)
def in_steps(self, name):
    self.update_state(state="HALFWAY", meta={"done": 50})
    note(name, "halfway")
    deadline = time.monotonic() + 60
    while not os.path.exists(os.path.join(FOLDER, name + ".go")) and time.monotonic() < deadline:
        time.sleep(0.01)
    return "done"


@app.task(bind=True)
def leaves_a_state(self):
    self.update_state(state="SHIPPED", meta={"by": "sea"})
    raise Ignore()


@app.task
def ignored():
    raise Ignore()


@app.task(ignore_result=True)
def silent(name):
    note(name, "ran")
    return "unseen"


@app.task(ignore_result=True, store_errors_even_if_ignored=True)
def silent_but_for_errors():
    raise ValueError("seen")


@app.task(acks_late=True)
def rejects(name):
    note(name, "ran")
    raise Reject("no", requeue=False)


@app.task(bind=True, acks_late=True)
def rejects_until_redelivered(self, name):
    note(name, f"redelivered {self.request.delivery_info['redelivered']}")
    if len(notes(name)) < 8:
        raise Reject("later", requeue=True)
    return "at last"


@app.task(bind=True)
def calls_another(self):
    child = add.delay(1, 1)
    other = add.apply_async((2, 2), add_to_parent=False)
    return [child.id != other.id, self.request.id]


@app.task
def waits_within():
    return add.delay(1, 1).get(timeout=30)


@app.task
def waits_within_if_allowed():
    with allow_join_result():
        return add.delay(1, 1).get(timeout=30)


@app.task(soft_time_limit=0.2)
def soft(clean):
    try:
        time.sleep(60)
    except SoftTimeLimitExceeded:
        if clean:
            return "cleaned up"
        raise


@app.task(time_limit=0.3)
def hard():
    time.sleep(60)


@app.task
def exits(code):
    raise SystemExit(code)


@app.task
def dies():
    os._exit(3)


@app.task
def recurses(n=0):
    return recurses.run(n + 1)


class Audited(Task):
    """Tells of each of its hooks."""

    def before_start(self, task_id, args, kwargs):
        note("audit", f"before {args} {kwargs}")

    def on_success(self, retval, task_id, args, kwargs):
        note("audit", f"success {retval} {args}")

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        note("audit", f"failure {exc!r} {args} {einfo.type.__name__}")

    def on_retry(self, exc, task_id, args, kwargs, einfo):
        note("audit", f"retry {exc!r} {args}")

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        note("audit", f"after {status} {retval!r} {args} {einfo is None}")


@app.task(base=Audited, bind=True, max_retries=1)
def audited(self, x):
    if x == "retry" and not self.request.retries:
        raise self.retry(countdown=0.1, exc=ValueError("once"))
    return 10 / x if x != "retry" else x


@app.task
def errback(request, exc, traceback):
    note("errbacks", f"new {request.task} {exc!r} {'Error' in str(traceback)}")


@app.task
def old_errback(task_id):
    note("errbacks", "old")


@app.task
def leave(result, name):
    note(name, repr(result))
    return result


def _told(value):
    """What JSON can hold of a field of a request."""
    if isinstance(value, dict):
        return {str(key): _told(one) for key, one in sorted(value.items(), key=lambda item: str(item[0]))}
    if isinstance(value, (list, tuple)):
        return [_told(one) for one in value]
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    return f"{type(value).__name__}"


def _request(request):
    names = sorted(set(vars(type(request))) | set(vars(request)))
    fields = {name: getattr(request, name) for name in names if not name.startswith("__")}
    fields["expires"] = fields["expires"] and "a time"
    # Whatever the transport has besides is not what a task may count on.
    properties = ("reply_to", "correlation_id", "priority")
    fields["properties"] = {name: fields["properties"][name] for name in properties}
    # The client has them in any order.
    fields["stamped_headers"] = sorted(fields["stamped_headers"] or ())
    fields["headers"] = {key: value for key, value in (fields["headers"] or {}).items() if key != "stamped_headers"}
    return {name: _told(value) for name, value in fields.items() if not callable(value)}


@app.task(bind=True)
def whole_request(self, *args, **kwargs):
    return _request(self.request)


@app.task(bind=True)
def elsewhere(self, *args, **kwargs):
    return _request(self.request)


def _told_of(name):
    def tell(sender=None, task_id=None, **given):
        request = given.get("request")
        task = getattr(sender, "name", None) or getattr(given.get("task"), "name", None) or getattr(request, "name", None)
        task = task or getattr(request, "task", None) or given.get("name")
        id = task_id or getattr(request, "id", None) or given.get("id") or sender.request.id
        more = [given["state"]] if "state" in given else []
        if "exception" in given:
            more.append(type(given["exception"]).__name__)
        if "reason" in given:
            more.append(type(given["reason"]).__name__)
        note("signals", " ".join([str(os.getpid()), str(id), name, str(task), *more]))

    return tell


_HANDLERS = [
    (getattr(signals, name), _told_of(name))
    for name in (
        "task_received",
        "task_prerun",
        "task_postrun",
        "task_success",
        "task_failure",
        "task_retry",
        "task_revoked",
        "task_unknown",
        "task_rejected",
        "task_internal_error",
    )
]
for _signal, _handler in _HANDLERS:
    _signal.connect(_handler)
