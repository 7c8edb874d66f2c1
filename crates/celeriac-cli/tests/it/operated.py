# What an operator asks of a drop-in worker. What comes before says NODE and is an operator's.
import subprocess
import sys

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

comes(lambda: course(naps[0])[-1:] == ["task-revoked"] and course(waiting)[-1:] == ["task-revoked"])
answer["courses"] = [course(naps[0]), course(waiting)]
last = {event["uuid"]: event for event in heard if "uuid" in event}
answer["revoked"] = [[last[call.id].get(key) for key in ("terminated", "signum", "expired")] for call in (naps[0], waiting)]
comes(lambda: heard_of("task-failed"))
answer["said"] = sorted({(event["type"], event.get("result") or event.get("exception"))
                         for event in heard if event["type"] in ("task-succeeded", "task-failed")})


def program(words, *, until=None):
    """Runs Celery's own program; to its end, or until it prints a line of which `until` holds."""
    command = [sys.executable, "-m", "celery", "-A", "proj", *words.split()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        if until is None:
            return running.communicate()[0]
        found = any(until(line) for line in running.stdout)
        running.kill()
        return found


answer["programs"] = [
    f"->  {NODE}: OK\n        pong" in program(f"inspect ping -d {NODE} -t 30"),
    f"->  {NODE}: OK" in program(f"status -d {NODE} -t 30"),
    "task events already enabled" in program(f"control enable_events -d {NODE} -t 30"),
    program("events --dump", until=lambda line: line.startswith(NODE) and " heartbeat" in line),
]
answer["shutdown"] = told(control.broadcast("shutdown", destination=[NODE], reply=True, timeout=1))
comes(lambda: heard_of("worker-offline"))
