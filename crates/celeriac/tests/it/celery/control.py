# What an operator of Celery asks of a worker in Rust. What comes before says NODE and QUEUE, and is an operator's.
from kombu import Exchange


def order(method, *arguments, **named):
    return told(getattr(control, method)(*arguments, destination=[NODE], reply=True, timeout=30, **named))


def send(name, *arguments, **options):
    return app.send_task(name, arguments, queue=QUEUE, **options)


answer = {"enable": order("enable_events")}
running = send("rust.linger", 7)
until(lambda: [call["id"] for call in told(asks.active())] == [running.id])
waiting = send("rust.echo", [1], {"a": None})
doomed = send("rust.echo", [2], headers={"stamped_headers": ["customer"], "stamps": {"customer": ["c42"]}})
until(lambda: len(told(asks.reserved())) == 2)

answer["ping"] = told(asks.ping())
answer["ping by pattern"] = [
    NODE in (reply or {})
    for sort, pattern, timeout in (("glob", NODE[:-4] + "*", 30), ("pcre", NODE[:4] + ".*", 30), ("glob", "x" + NODE, 2))
    for reply in [{k: v for r in control.broadcast(
        "ping", pattern=pattern, matcher=sort, reply=True, timeout=timeout, limit=1) or [] for k, v in r.items()}]
]
answer["active"] = told(asks.active())
answer["active safe"] = told(asks.active(safe=True))
answer["reserved"] = [[call["id"] == waiting.id or call["id"] == doomed.id, call["name"], call["time_start"]]
                      for call in told(asks.reserved())]
answer["scheduled"] = told(asks.scheduled())
found = told(asks.query_task([running.id, waiting.id, "unknown"]))
answer["query"] = {running.id: "active", waiting.id: "reserved"} == {id: told[0] for id, told in found.items()}
answer["registered"] = [name for name in told(asks.registered()) if name.startswith("rust.")]
answer["active_queues"] = [[queue["name"], queue["exchange"]["type"], queue["routing_key"]]
                           for queue in told(asks.active_queues())] == [[QUEUE, "direct", QUEUE]]
stats = told(asks.stats())
answer["stats"] = [stats["total"], sorted(stats), stats["pool"]["max-concurrency"]]
answer["clock"] = isinstance(told(asks.clock())["clock"], int)
answer["conf"] = told(asks.conf())["worker_concurrency"]
answer["report"] = "celeriac" in told(asks.report())["ok"]
answer["hello"] = sorted(told(asks.hello("other@host", revoked=["learnt"])))

answer["rate"] = [order("rate_limit", "rust.next", "100/m"), order("rate_limit", "nope", "1/s"),
                  order("rate_limit", "rust.next", "x/y"), order("rate_limit", "rust.next", None)]
answer["time"] = [order("time_limit", "rust.next", hard=10, soft=5), order("time_limit", "nope", hard=1)]
answer["events"] = [order(method) for method in ("enable_events", "disable_events", "disable_events", "enable_events")]
answer["unknown"] = raw("no_such_command")
answer["missing"] = raw("revoke")
answer["heartbeat"] = raw("heartbeat")

answer["revoke"] = order("revoke", waiting.id) == {"ok": "tasks {%r} flagged as revoked" % waiting.id}
answer["stamped"] = raw("revoke_by_stamped_headers", headers={"customer": ["c42"]})
answer["revoked"] = ["learnt" in told(asks.revoked()), waiting.id in told(asks.revoked())]
answer["terminate"] = order("revoke", running.id, terminate=True) == {"ok": "terminate: " + running.id}
answer["terminate unknown"] = order("revoke", "unknown", terminate=True)
ends = []
for call in (running, waiting, doomed):
    try:
        ends.append(call.get(timeout=60))
    except Exception as error:
        ends.append(type(error).__name__)
answer["ends"] = ends
good, bad, again = send("rust.add", 2, 3), send("rust.fail", 7), send("rust.flaky", 2)
answer["results"] = [good.get(timeout=60), bad.get(timeout=60, propagate=False) and bad.state, again.get(timeout=60)]

def slots():
    return told(asks.stats())["pool"]["max-concurrency"]


answer["resize"] = [raw("pool_grow", n=2), slots(), raw("pool_shrink", n=1), slots(), raw("pool_shrink", n=2), slots()]
answer["no children"] = [order("autoscale", 3, 1), order("pool_restart")]
# Queues come and go while it works.
MORE, TOPIC = QUEUE + "-more", QUEUE + "-topic"
named = lambda: sorted(queue["name"] for queue in told(asks.active_queues()))
answer["add"] = [order("add_consumer", MORE), order("add_consumer", MORE),
                 order("add_consumer", TOPIC, exchange=QUEUE + "-x", exchange_type="topic", routing_key="a.*"),
                 order("add_consumer", MORE + "-bad", exchange=QUEUE + "-x", exchange_type="direct")]
answer["added"] = named() == [QUEUE, MORE, TOPIC]
topic = [queue for queue in told(asks.active_queues()) if queue["name"] == TOPIC][0]
answer["bound"] = [topic["exchange"]["name"] == QUEUE + "-x", topic["exchange"]["type"], topic["routing_key"]]
answer["from added"] = [
    app.send_task("rust.add", (4, 4), queue=MORE).get(timeout=60),
    # Unless it is declared, kombu takes an exchange on Redis for a direct one.
    app.send_task("rust.add", (5, 5), exchange=QUEUE + "-x", routing_key="a.b",
                  declare=[Exchange(QUEUE + "-x", type="topic")]).get(timeout=60),
]
answer["cancel"] = [order("cancel_consumer", MORE), order("cancel_consumer", "nowhere")]
answer["left"] = named() == [QUEUE, TOPIC]
later = app.send_task("rust.add", (6, 6), queue=MORE)
answer["not from cancelled"] = [send("rust.add", 7, 7).get(timeout=60), later.state]
order("add_consumer", MORE)
answer["from cancelled"] = later.get(timeout=60)
calls = {"running": running, "waiting": waiting, "good": good, "bad": bad, "again": again}


courses = {
    "running": ["task-received", "task-started", "task-revoked"],
    "waiting": ["task-received", "task-revoked"],
    "good": ["task-received", "task-started", "task-succeeded"],
    "bad": ["task-received", "task-started", "task-failed"],
    "again": ["task-received", "task-started", "task-retried", "task-received", "task-started", "task-succeeded"],
}
comes(lambda: {name: course(call) for name, call in calls.items()} == courses)
answer["courses"] = {name: course(call) for name, call in calls.items() if course(call) != courses[name]}
last = {event["uuid"]: event for event in heard if "uuid" in event}
answer["told"] = [
    [last[running.id][key] for key in ("terminated", "expired", "signum")],
    [last[waiting.id][key] for key in ("terminated", "expired", "signum")],
    last[good.id]["result"], last[bad.id]["exception"],
    [last[good.id]["runtime"] < 60, last[good.id]["pid"] > 0, last[good.id]["clock"] > last[running.id]["clock"]],
]
state = app.events.State()
for event in list(heard):
    state.event(dict(event))
answer["states"] = [state.tasks[call.id].state for call in calls.values()]
comes(lambda: any(beat.get("processed") for beat in heard_of("worker-heartbeat")))
beat = [beat for beat in heard_of("worker-heartbeat") if beat.get("processed")][-1]
answer["beat"] = [beat["freq"], beat["sw_ident"], len(beat["loadavg"]), beat["processed"] > 0]
answer["shutdown"] = told(control.broadcast("shutdown", destination=[NODE], reply=True, timeout=1))
answer["offline"] = comes(lambda: heard_of("worker-offline"))
