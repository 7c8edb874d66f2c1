"""An app that is operated from outside, with a command of its own."""
import os
import time

from celery import Celery
from celery.worker.control import inspect_command

PREFIX = os.environ.get("PREFIX")
ON_REDIS = os.environ["BROKER"].startswith("redis")

app = Celery("proj", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
app.conf.update(
    task_default_queue=os.environ["QUEUE"],
    worker_pool_restarts=os.environ.get("POOL_RESTARTS") == "1",
    broker_transport_options={"global_keyprefix": PREFIX} if PREFIX and ON_REDIS else {},
    result_backend_transport_options={"global_keyprefix": PREFIX} if PREFIX else {},
)


@inspect_command(args=[("name", str)], signature="NAME")
def greet(state, name="nobody"):
    """Says who was asked."""
    return {"ok": f"{name} at {state.hostname}"}


@app.task
def add(x, y):
    return x + y


@app.task
def pid():
    return os.getpid()


@app.task
def fail(text):
    raise ValueError(text)


@app.task(rate_limit="10/s")
def nap(seconds):
    time.sleep(seconds)
