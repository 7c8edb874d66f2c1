# What an operator of Celery has at hand. What comes before says NODE, the worker that is operated, and app.
import threading
import time

control, asks = app.control, app.control.inspect([NODE], timeout=30)


def told(replies):
    """What the worker answers, or SILENT."""
    if isinstance(replies, list):
        replies = {name: told for reply in replies for name, told in reply.items()}
    return (replies or {}).get(NODE, "SILENT")


def raw(method, **arguments):
    return told(control.broadcast(method, arguments=arguments, destination=[NODE], reply=True, timeout=30))


def until(holds):
    """Waits until something holds that is asked of the worker."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "it does not come to pass"


heard, news = [], threading.Condition()


def hear(event):
    with news:
        heard.append(event)
        news.notify_all()


def watch():
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": hear})
        receiver.capture(limit=None, timeout=None, wakeup=False)


def comes(holds):
    """Waits until something holds of what was heard, and says whether it does."""
    with news:
        return bool(news.wait_for(holds, timeout=60))


def heard_of(kind):
    return [event for event in heard if event["type"] == kind and event["hostname"] == NODE]


def course(call):
    """What was heard of a call, in its order."""
    return [event["type"] for event in heard if event.get("uuid") == call.id]


threading.Thread(target=watch, daemon=True).start()
assert comes(lambda: heard_of("worker-heartbeat")), "no event is heard"
