# Asks a worker in Rust for all sorts of things, and tells what came of them.


def ask(name, *arguments, **options):
    return send(name, *arguments, queue="to_rust", **options)


# The worker starts once these are there, so that it can choose.
by_priority = {priority: ask("rust.next", priority=priority) for priority in (6, 0, 9, 3)}
print("SENT", flush=True)

sent = time.time()
due = ask("rust.now", countdown=1)
text = "žluťoučký kůň \u0001 \\ \" 馬 🐎"
calls = {
    "plain": ask("rust.add", 2, 3),
    "by name": app.send_task("rust.add", (2,), {"b": 3}, queue="to_rust"),
    "values": ask("rust.echo", [None, True, 1.5, text, {"a": {"b": []}}]),
    "protocol 1": None,
    "failure": ask("rust.fail", 7),
    "panic": ask("rust.panic"),
    "unknown": ask("rust.nothing"),
    "misfit": ask("rust.add", "two", 3),
    "too few": ask("rust.add", 2),
    "retries": ask("rust.flaky", 3),
}
for serializer in ("json", "msgpack", "yaml"):
    calls[serializer] = ask("rust.echo", {"text": text, "n": -7}, serializer=serializer)
for compression in ("zlib", "bzip2", "lzma", "brotli", "zstd"):
    calls[compression] = ask("rust.echo", text * 100, compression=compression)
if not PRIORITIES:
    # RabbitMQ itself drops what has expired, without a word to who waits.
    an_hour = datetime.timedelta(hours=1)
    late = datetime.datetime.now(datetime.timezone.utc) - an_hour
    calls["expired"] = ask("rust.add", 2, 3, expires=late)

app.conf.task_protocol = 1
calls["protocol 1"] = ask("rust.add", 2, 3)
app.conf.task_protocol = 2

revoked = ask("rust.now", countdown=600)
# Once one has come, the worker listens to what is said to all.
calls["plain"].get(timeout=30)
revoked.revoke()
calls["revoked"] = revoked

answer = {name: outcome(result) for name, result in calls.items()}
for compression in ("zlib", "bzip2", "lzma", "brotli", "zstd"):
    answer[compression] = answer[compression].get("value") == text * 100
answer["wide"] = outcome(ask("rust.wide", 2**100)) == {"value": 2**100 + 1}
answer["due after"] = due.get(timeout=30) - sent
answer["order"] = sorted(by_priority, key=lambda priority: by_priority[priority].get(timeout=30))
