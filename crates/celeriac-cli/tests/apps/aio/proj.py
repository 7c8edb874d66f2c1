"""An app of coroutines."""
import asyncio
import os

from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded

app = Celery("proj", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
app.conf.task_default_queue = os.environ["QUEUE"]
app.conf.broker_transport_options = {"global_keyprefix": os.environ["PREFIX"]}


@app.task(bind=True)
async def who(self, seconds):
    before = self.request.id
    await asyncio.sleep(seconds)
    return [before, self.request.id]


@app.task(soft_time_limit=0.3)
async def soft():
    try:
        await asyncio.sleep(30)
    except SoftTimeLimitExceeded:
        return "cleaned up"


@app.task(bind=True, max_retries=2)
async def stubborn(self):
    await asyncio.sleep(0)
    if self.request.retries < 1:
        raise self.retry(countdown=0.05)
    return self.request.retries


@app.task
async def fails():
    await asyncio.sleep(0)
    raise KeyError("x")


@app.task
def plain(x):
    return x * 2
