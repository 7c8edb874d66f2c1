# The Python half of a fleet. What comes before says PREFIX, PRIORITIES and RESULTS.
import datetime
import threading
import time

from celery import chain

app.conf.update(
    accept_content=["json", "msgpack", "yaml"],
    broker_connection_retry_on_startup=True,
    broker_transport_options={"global_keyprefix": PREFIX} if PREFIX and not PRIORITIES else {},
    result_backend_transport_options={"global_keyprefix": PREFIX} if PREFIX else {},
    result_serializer=RESULTS,
    result_compression="zlib" if RESULTS == "yaml" else None,
    task_queue_max_priority=PRIORITIES,
)


def task(name, **options):
    """A task by two names: one of ours alone, and one that Rust has too."""

    def register(function):
        app.task(name="shared." + name, **options)(function)
        return app.task(name="py." + name, **options)(function)

    return register


@task("add")
def add(a, b):
    return a + b


@task("sum")
def total(numbers):
    return sum(numbers)


@app.task(name="py.detour", bind=True)
def detour(self, n):
    """Puts a step of each language in its place."""
    steps = [app.signature("rust.add", args=[n, 1], queue="steps_in_rust")]
    steps.append(app.signature("py.add", args=[1], queue="steps_in_python"))
    raise self.replace(chain(steps))


@task("echo")
def echo(value):
    return value


@task("fail")
def fail(order):
    raise ValueError("card refused", order)


@task("flaky", bind=True, max_retries=5)
def flaky(self, good):
    attempt = self.request.retries + 1
    if attempt < good:
        raise self.retry(countdown=0.1)
    return attempt


@app.task(name="py.now")
def now():
    return time.time()


@app.task(name="py.parent")
def parent():
    """Sends a call, and says which."""
    return app.send_task("py.add", (1, 1), queue="to_python").id


@app.task(name="py.nap")
def nap(seconds):
    time.sleep(seconds)


counted = 0


@app.task(name="py.next")
def next_number():
    global counted
    counted += 1
    return counted


@app.task(name="shared.where")
def where(number):
    time.sleep(0.01)
    return ["python", number]


def send(name, *arguments, **options):
    return app.send_task(name, arguments, **options)


def outcome(result):
    """What became of a call, as JSON."""
    try:
        return {"value": result.get(timeout=30)}
    except Exception as error:
        return {"error": type(error).__name__, "says": str(error), "state": result.state}
