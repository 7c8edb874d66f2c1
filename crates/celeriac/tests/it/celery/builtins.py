# Sends the tasks that every worker has, and tells what came of what they sent.
from celery import group
from celery.result import result_from_tuple


def sent(name, *args, **kwargs):
    """What came of the calls that a built-in task has sent."""
    value = app.send_task(name, args, kwargs).get(timeout=30)
    return result_from_tuple(value, app=app).get(timeout=30)


def add(*args):
    return app.signature("shared.add", args=args)


pairs = [[1, 1], [2, 2], [3, 3]]
parts = group(add(n) for n in (1, 2))
frozen = parts.freeze()
unknown = app.send_task("celery.chain", (), {})
answer = {
    "chunks": sent("celery.chunks", task=add(), it=pairs, n=2),
    "group": sent("celery.group", list(parts.tasks), frozen.as_tuple(), frozen.id, [10]),
    "chord": sent("celery.chord", header=[add(1), add(2)], body=app.signature("shared.sum"), partial_args=[10]),
    "accumulate": outcome(app.send_task("celery.accumulate", (1, 2), {"index": 1})),
    "backend_cleanup": outcome(app.send_task("celery.backend_cleanup")),
    "chain": outcome(unknown),
}
