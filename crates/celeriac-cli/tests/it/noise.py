# Whoever may publish tells monitors what he likes.
import json as js

from celery.events.event import get_exchange
import redis

FAR = ["", None, True, 7, -1, 1e308, "x" * 100_000, "\x1b]0;owned\x07\x1b[2J\x00", [], {}, [[[[]]]], {"a": {"b": []}}]
FIELDS = "type uuid name args kwargs retries eta expires result exception runtime hostname timestamp clock pid utcoffset " \
    "freq active processed loadavg sw_ident".split()
KINDS = "task-sent task-received task-started task-succeeded task-failed task-retried task-revoked task-rejected " \
    "task-unheard-of worker-online worker-heartbeat worker-offline unheard-of".split()
BARE = [b"", b"7", b"null", b"{}", b"[]", b'[[], {}, 7, "x"]', b"[" * 100_000, b"\xff" * 1000, b"\x00" * 1000]
SHAPED = [
    b'{"type": "worker-heartbeat", "hostname": "far", "timestamp": NaN}',
    b'{"type": "worker-heartbeat", "hostname": "far", "timestamp": 1e400, "loadavg": [1e400, -1e400]}',
    b'{"type": "task-received", "uuid": "\\ud800", "hostname": "far"}',
    js.dumps({"type": "task-received", "uuid": "huge", "hostname": "far", "args": "x" * 9_000_000}).encode(),
]


def event(**fields):
    common = dict(type="task-received", uuid="far", name="far", hostname="far@away", timestamp=time.time(), clock=1, pid=1)
    return js.dumps({**common, **fields}).encode()


with app.connection_for_write() as connection:
    producer = connection.Producer(exchange=get_exchange(connection))

    def tell(body, key="task.received"):
        producer.publish(body, routing_key=key, content_type="application/json", content_encoding="utf-8")

    for body in BARE + SHAPED:
        tell(body)
        tell(body, "task.multi")
        tell(body, "worker.heartbeat")
    for kind in KINDS:
        tell(event(type=kind))
        tell(b"[" + event(type=kind) + b"," + event(type=kind, uuid=None) + b"]", "task.multi")
    for field in FIELDS:
        for value in FAR:
            for kind in ("task-received", "task-succeeded", "worker-heartbeat"):
                tell(event(**{"type": kind, field: value}))
    for number in range(3000):
        tell(event(type="worker-heartbeat", hostname=f"far{number}@away", timestamp=time.time() - 3600))
        tell(event(uuid=f"far-{number}", name=f"far.{number}"))
if ON_REDIS:
    client = redis.Redis.from_url(os.environ["BROKER"])
    for body in BARE + SHAPED:
        assert client.publish(f"{PREFIX}/0.celeryev/task.received", body) > 0
answer = add.delay(20, 22).get(timeout=60)
