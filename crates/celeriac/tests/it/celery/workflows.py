# Sends workflows through workers of both languages, and tells what came of them. What comes before
# says CHORDS.
import gc

from celery import chain, chord, group

# Celery 5.4's client waits for itself for ever if a result is collected while it subscribes to another.
gc.disable()


def rust(name, *arguments):
    return app.signature(name, args=arguments, queue="steps_in_rust")


def python(name, *arguments):
    return app.signature(name, args=arguments, queue="steps_in_python")


steps = chain(rust("rust.add", 1, 2), python("py.add", 10), rust("rust.add", 100))
parts = [rust("rust.add", 1, 2), python("py.add", 3, 4), chain(rust("rust.add", 0, 1), python("py.add", 1))]
it = [[n, n] for n in range(4)]
chunked = group(
    app.signature(
        "celery.starmap",
        kwargs={"task": app.signature("rust.add"), "it": it[start : start + 2]},
        immutable=True,
        queue="steps_in_rust",
    )
    for start in (0, 2)
)
broken = chain(python("py.add", 1, 2), rust("rust.fail"), python("py.add", 10), rust("rust.add", 100))
broken = broken.apply_async()
# So that it waits for what becomes of the last step and not of the first that fails.
broken.parent = None
answer = {
    "chain": outcome(steps.apply_async()),
    "broken": outcome(broken),
    # Not at the end: Celery answers what replaces a call of its own to its worker, over rpc.
    "detour": outcome(chain(rust("rust.detour", 1), python("py.detour"), python("py.add", 10)).apply_async()),
    "chunks": chunked.apply_async().get(timeout=30),
}
if CHORDS:
    detours = [rust("rust.detour", 1), python("py.detour", 2), chain(python("py.add", 1, 2), rust("rust.detour"))]
    answer["detours"] = outcome(chord(detours, rust("rust.sum")).apply_async())
    answer["chord"] = outcome(chord(parts, rust("rust.sum")).apply_async())
