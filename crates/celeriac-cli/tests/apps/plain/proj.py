"""A plain app whose tasks use what Celery has."""
import os
import signal
import time

from celery import Celery, Task, chord, group, signals
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from celery.utils.log import get_task_logger

PREFIX = os.environ.get("PREFIX")
ON_REDIS = os.environ["BROKER"].startswith("redis")
OPTIONS = {"global_keyprefix": PREFIX} if PREFIX and ON_REDIS else {}
RESULT_OPTIONS = {"global_keyprefix": PREFIX} if PREFIX else {}

app = Celery("proj", broker=os.environ["BROKER"], backend=os.environ["BACKEND"], include=["bad"])
app.conf.update(
    task_default_queue=os.environ["QUEUE"],
    accept_content=["json", "pickle"],
    result_extended=True,
    broker_transport_options=OPTIONS,
    result_backend_transport_options=RESULT_OPTIONS,
    worker_deduplicate_successful_tasks="DEDUPLICATE" in os.environ,
    worker_max_tasks_per_child=int(os.environ.get("MAX_TASKS", "0")) or None,
)
log = get_task_logger(__name__)
FOLDER = os.environ.get("FOLDER", ".")


def note(name, text):
    """Leaves a line for the test to read; appended in one call, so that processes do not mix."""
    with open(os.path.join(FOLDER, name), "a") as file:
        file.write(f"{text}\n")


@app.task
def add(x, y):
    return x + y


@app.task
def total(numbers):
    return sum(numbers)


@app.task(ignore_result=True)
def silent():
    note("silent", "ran")


@app.task
def fail(text):
    raise ValueError(text)


class Unpicklable(Exception):
    def __init__(self, first, second):
        super().__init__(first)
        self.lock = __import__("threading").Lock()

    def __repr__(self):
        raise RuntimeError("no repr either")


@app.task
def fail_badly():
    raise Unpicklable(1, 2)


@app.task
def unserialisable():
    return object()


@app.task(bind=True, max_retries=3)
def stubborn(self, times):
    if self.request.retries < times:
        raise self.retry(countdown=0.05, exc=ValueError("not yet"))
    return self.request.retries


@app.task(autoretry_for=(OSError,), retry_backoff=False, default_retry_delay=0.05, max_retries=2)
def restless():
    note("restless", "tried")
    raise OSError("never")


@app.task(bind=True)
def request_of(self):
    request = self.request
    return {
        "id": request.id,
        "hostname": request.hostname,
        "args": list(request.args),
        "kwargs": request.kwargs,
        "queue": request.delivery_info["routing_key"],
        "retries": request.retries,
        "headers": request.headers and dict(request.headers).get("colour"),
        "root": request.root_id,
        "eager": request.is_eager,
    }


@app.task(bind=True)
def in_steps(self):
    self.update_state(state="HALFWAY", meta={"done": 50})
    note("in_steps", "halfway")
    deadline = time.monotonic() + 30
    while not os.path.exists(os.path.join(FOLDER, "go_on")) and time.monotonic() < deadline:
        time.sleep(0.01)
    return "done"


@app.task
def ignored():
    raise Ignore()


@app.task(acks_late=True)
def rejected():
    note("rejected", "ran")
    raise Reject("no", requeue=False)


@app.task(bind=True)
def replaced(self, x):
    raise self.replace(add.s(x, 100))


@app.task(bind=True)
def fan_out(self, count):
    raise self.replace(group(add.s(i, i) for i in range(count)) | total.s())


class Audited(Task):
    def on_success(self, retval, task_id, args, kwargs):
        note("audit", f"success {retval}")

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        note("audit", f"failure {exc}")

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        note("audit", f"after {status}")


@app.task(base=Audited)
def audited(x):
    return 10 / x


@app.task
def errback(request, exc, traceback):
    note("errbacks", f"{request.id} {exc!r}")


@app.task
def old_errback(task_id):
    note("errbacks", f"old {task_id}")


@app.task(soft_time_limit=0.3)
def soft():
    try:
        time.sleep(30)
    except SoftTimeLimitExceeded:
        return "cleaned up"


@app.task(time_limit=0.5)
def hard():
    time.sleep(30)


@app.task(acks_late=True, reject_on_worker_lost=True)
def fragile(name):
    note(name, os.getpid())
    with open(os.path.join(FOLDER, name)) as file:
        if len(file.readlines()) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


@app.task(acks_late=True, reject_on_worker_lost=True)
def deadly():
    note("deadly", os.getpid())
    os.kill(os.getpid(), signal.SIGKILL)


class DiesAfterwards(Task):
    def after_return(self, *_):
        note("afterwards", "after")
        os.kill(os.getpid(), signal.SIGKILL)


@app.task(base=DiesAfterwards, acks_late=True, reject_on_worker_lost=True)
def ends_then_dies():
    note("afterwards", "ran")
    return 7


@app.task(bind=True, max_retries=2, default_retry_delay=0.1, retry_on_worker_lost=True)
def retried_when_lost(self):
    if not self.request.retries:
        os.kill(os.getpid(), signal.SIGKILL)
    return [self.request.retries, self.request.delivery_info["redelivered"]]


late_and_retried_when_lost = app.task(
    retried_when_lost.run.__func__,
    name="proj.late_and_retried_when_lost",
    bind=True,
    max_retries=2,
    default_retry_delay=0.1,
    retry_on_worker_lost=True,
    acks_late=True,
    reject_on_worker_lost=True,
)


@app.task(acks_late=True)
def late():
    note("late", "ran")
    return "anew"


@app.task(bind=True, acks_late=True, acks_on_failure_or_timeout=False, time_limit=0.5)
def overruns(self):
    redelivered = self.request.delivery_info["redelivered"]
    note("overruns", redelivered)
    if not redelivered:
        time.sleep(60)
    return "in time"


@app.task
def group_id():
    return os.getgid()


@app.task
def meets(count):
    """Ends when so many run at once."""
    note("meeting", os.getpid())
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with open(os.path.join(FOLDER, "meeting")) as file:
            if len(file.readlines()) == count:
                return os.getpid()
        time.sleep(0.02)


HOARD = []


@app.task
def hoards(mebibytes):
    HOARD.append(os.urandom(1024) * (1024 * mebibytes))
    return os.getpid()


@app.task(acks_late=True)
def long():
    note("long", "began")
    with open(os.path.join(FOLDER, "long")) as file:
        if len(file.readlines()) == 1:
            time.sleep(600)
    note("long", "ended")


@app.task
def exits(code):
    os._exit(code)


@app.task
def pid():
    return os.getpid()


@app.task
def nap(seconds):
    note("naps", "began")
    time.sleep(seconds)
    note("naps", "ended")
    return seconds


@app.task
def talkative():
    print("printed by a task")
    log.warning("logged by a task")


@app.task
def recurse(n=0):
    return recurse.run(n + 1)


@app.task
def closes_stdio():
    for fd in (0, 1, 2):
        os.close(fd)
    return "closed"


@app.task
def junk_everywhere():
    for fd in range(3, 64):
        try:
            os.write(fd, b"junk" * 100)
        except OSError:
            pass
    return "wrote"


@app.task
def forks():
    child = os.fork()
    if child == 0:
        os._exit(0)
    return os.waitpid(child, 0)[1]


@app.task
def deaf():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(30)


deaf.time_limit = 0.5


@app.task
def prints_much(mebibytes):
    line = "x" * 1023
    for _ in range(mebibytes * 1024):
        print(line)
    return mebibytes


@app.task
def crashes_in_c():
    import ctypes

    ctypes.string_at(0)


@signals.worker_ready.connect
def on_ready(**_):
    note("signals", "worker_ready")


@signals.worker_shutdown.connect
def on_shutdown(**_):
    note("signals", "worker_shutdown")


@signals.worker_process_init.connect
def on_process_init(**_):
    note("signals", "worker_process_init")


@signals.task_received.connect
def on_received(request, **_):
    note("signals", f"task_received {request.name}")


@signals.task_prerun.connect
def on_prerun(task, **_):
    note("signals", f"task_prerun {task.name}")


@signals.task_success.connect
def on_success(sender, **_):
    note("signals", f"task_success {sender.name}")


@signals.task_failure.connect
def on_failure(sender, exception, **_):
    note("signals", f"task_failure {sender.name} {type(exception).__name__}")


@signals.task_revoked.connect
def on_revoked(request, expired, terminated, **_):
    note("signals", f"task_revoked {'expired' if expired else 'revoked'}")


@signals.task_unknown.connect
def on_unknown(name, **_):
    note("signals", f"task_unknown {name}")


@signals.task_retry.connect
def on_retry(sender, **_):
    note("signals", f"task_retry {sender.name}")
