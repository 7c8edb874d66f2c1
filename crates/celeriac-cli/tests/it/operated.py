# What an operator asks of a drop-in worker. What comes before says NODE.
import threading
import time

control, asks = app.control, app.control.inspect([NODE], timeout=30)


def told(replies):
    if isinstance(replies, list):
        replies = {name: told for reply in replies for name, told in reply.items()}
    return (replies or {}).get(NODE, "SILENT")


def raw(method, **arguments):
    return told(control.broadcast(method, arguments=arguments, destination=[NODE], reply=True, timeout=30))


def until(holds):
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "it does not come to pass"


heard = []


def watch():
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": heard.append})
        receiver.capture(limit=None, timeout=None, wakeup=False)


def heard_of(kind):
    return [event for event in list(heard) if event["type"] == kind and event["hostname"] == NODE]


threading.Thread(target=watch, daemon=True).start()
until(lambda: heard_of("worker-heartbeat"))
answer = {"ping": told(asks.ping())}
naps = [nap.delay(600), nap.delay(600)]
until(lambda: {call["id"] for call in told(asks.active())} == {call.id for call in naps})
waiting = add.delay(1, 1)
until(lambda: [call["id"] for call in told(asks.reserved())] == [waiting.id])
answer["args"] = [call["args"] for call in told(asks.active())]
answer["safe"] = [call["args"] for call in told(asks.active(safe=True))]
answer["registered"] = told(asks.registered())
answer["pool"] = told(asks.stats())["pool"]["max-concurrency"]
answer["total"] = told(asks.stats())["total"]
answer["conf"] = told(asks.conf())["task_default_queue"] == app.conf.task_default_queue
answer["report"] = "celery:" in told(asks.report())["ok"]
answer["own"] = raw("greet", name="you")
answer["unknown"] = raw("no_such_command")
answer["events"] = [raw("enable_events"), raw("disable_events")]
answer["revoke"] = raw("revoke", task_id=waiting.id) == {"ok": "tasks {%r} flagged as revoked" % waiting.id}
answer["terminate"] = raw("revoke", task_id=[naps[0].id], terminate=True) == {"ok": "terminate: " + naps[0].id}


def end(call):
    try:
        return call.get(timeout=60)
    except Exception as error:
        return type(error).__name__


answer["ends"] = [end(call) for call in (waiting, naps[0], add.delay(2, 3), fail.delay("boom"))]
answer["grow"] = raw("pool_grow", n=1)
until(lambda: told(asks.stats())["pool"]["max-concurrency"] == 3)
more = [nap.delay(600), nap.delay(600)]
until(lambda: len(told(asks.active())) == 3)
answer["terminate all"] = sorted(raw("terminate", signal="SIGTERM", task_id=[call.id for call in naps[1:] + more])["ok"][11:].split(", ")) == sorted(
    call.id for call in naps[1:] + more)
answer["all"] = [end(call) for call in naps[1:] + more]
kinds = {call.id: [] for call in naps + [waiting]}


def course(call):
    return [event["type"] for event in list(heard) if event.get("uuid") == call.id]


try:
    until(lambda: course(naps[0])[-1:] == ["task-revoked"] and course(waiting)[-1:] == ["task-revoked"])
except AssertionError:
    pass
answer["courses"] = [course(naps[0]), course(waiting)]
last = {event["uuid"]: event for event in heard if "uuid" in event}
answer["revoked"] = [[last[call.id].get(key) for key in ("terminated", "signum", "expired")] for call in (naps[0], waiting)]
until(lambda: any(event["type"] == "task-failed" for event in heard))
answer["said"] = sorted({(event["type"], event.get("result") or event.get("exception"))
                         for event in heard if event["type"] in ("task-succeeded", "task-failed")})
answer["shutdown"] = told(control.broadcast("shutdown", destination=[NODE], reply=True, timeout=1))
until(lambda: heard_of("worker-offline"))
