# What Python's own client asks a fleet of two. What comes before says OURS, THEIRS, QUEUES and ASKS.
import time

NODES = [OURS, THEIRS]


def ask(method, arguments):
    replies = app.control.broadcast(method, arguments=arguments, destination=NODES, reply=True, timeout=60, limit=2)
    return {node: told for reply in replies for node, told in reply.items()}


def holds(command):
    return [len(calls) for calls in ask(command, {}).values()]


for queue in QUEUES * 2:
    nap.apply_async((600,), queue=queue)
end = time.monotonic() + 60
while holds("active") != [1, 1] or holds("reserved") != [1, 1]:
    assert time.monotonic() < end, "the calls do not begin"
answer = [ask(method, arguments) for method, arguments in ASKS]
