# What a person does with Flower. What comes before says SOCKET, FIXED and SCALED, two workers, and QUEUE.
import http.client
import socket
import time
from urllib.parse import quote

from kombu.utils.uuid import uuid


class Line(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(SOCKET)


def fetch(path, method="GET"):
    line = Line("localhost", timeout=60)
    line.request(method, path)
    answer = line.getresponse()
    return answer.status, answer.read().decode()


def until(holds):
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "it does not come to pass"


def page(path, *expected):
    """Whether a page is shown, and says this."""
    status, text = fetch(path)
    missing = [words for words in expected if words not in text]
    return True if status == 200 and not missing else [path, status, missing]


def act(path, node=None, **arguments):
    """What is said of an action."""
    words = "&".join(f"{name}={quote(str(value))}" for name, value in arguments.items())
    status, text = fetch(f"/api/{path}" + (f"/{node}" if node else "") + "?" + words, "POST")
    return [status, json.loads(text)["message"].replace(node or "-", "NODE") if status == 200 else text]


def known():
    return set(json.loads(fetch("/api/workers?refresh=1")[1])) >= {FIXED, SCALED}


def state(call):
    status, text = fetch(f"/api/task/info/{call.id}")
    return json.loads(text)["state"] if status == 200 else None


until(known)
sums, boom = add.delay(2, 3), fail.delay("boom")
until(lambda: state(sums) == "SUCCESS" and state(boom) == "FAILURE")
naps = [nap.delay(600), nap.delay(600)]
until(lambda: {state(call) for call in naps} == {"STARTED"})
table = fetch("/tasks/datatable?draw=1&start=0&length=10&search[value]=&order[0][column]=0&order[0][dir]=asc&columns[0][data]=name")
rows = {row["uuid"]: row["state"] for row in json.loads(table[1])["data"]}
answer = {
    "pages": [
        page("/", FIXED, SCALED),
        page("/workers?refresh=1", FIXED, SCALED),
        page(f"/worker/{FIXED}", "oncurrency", "proj.add", QUEUE),
        page(f"/worker/{SCALED}", "oncurrency"),
        page("/tasks"),
        page(f"/task/{sums.id}", "proj.add", "SUCCESS"),
        page(f"/task/{boom.id}", "ValueError", "Traceback"),
        # Elsewhere it asks a server of RabbitMQ's own, which is no part of this.
        page("/broker", *([QUEUE] if ON_REDIS else [])),
    ],
    "rows": sorted(rows.values()),
    "info": [json.loads(fetch(f"/api/task/info/{sums.id}")[1])[key] for key in ("name", "result", "args")],
    "queues": not ON_REDIS or [
        queue["name"] for queue in json.loads(fetch("/api/queues/length")[1])["active_queues"]] == [QUEUE],
    "more": act("worker/pool/grow", FIXED, n=1),
    "less": act("worker/pool/shrink", FIXED, n=1),
    "scale": act("worker/pool/autoscale", SCALED, min=1, max=2),
    "restart": act("worker/pool/restart", SCALED),
    "add": act("worker/queue/add-consumer", FIXED, queue="more"),
    "cancel": act("worker/queue/cancel-consumer", FIXED, queue="more"),
    "rate": act("task/rate-limit/proj.add", workername=FIXED, ratelimit="5/m"),
    "time": act("task/timeout/proj.add", workername=FIXED, hard=60, soft=30),
    "revoke": [act(f"task/revoke/{call.id}", terminate="true")[0] for call in naps],
}
until(lambda: {state(call) for call in naps} == {"REVOKED"})
answer["shutdown"] = [act("worker/shutdown", node) for node in (FIXED, SCALED)]
