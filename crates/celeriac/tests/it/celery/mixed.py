# Sends workflows to a queue that workers of both languages serve, and tells what came of them. What
# comes before says CHORDS, QUEUE and TIMES.
from celery import chain, chord, group


def step(name, *arguments):
    return app.signature("shared." + name, args=arguments, queue=QUEUE)


def times(make):
    return [make().apply_async() for _ in range(TIMES)]


chains = times(lambda: chain(step("add", 0, 1), step("add", 10), step("add", 100)))
groups = times(lambda: group(step("add", 1, 2), step("add", 3, 4)))
retries = times(lambda: step("flaky", 3))
failures = times(lambda: step("fail", 7))
parts = [step("add", 1, 2), chain(step("add", 3, 4), step("add", 1))]
chords = times(lambda: chord(parts, step("sum"))) if CHORDS else []


def values(results):
    return [result.get(timeout=30) for result in results]


refused = [outcome(failure) for failure in failures]
answer = {
    "chains": values(chains),
    "groups": values(groups),
    "retries": values(retries),
    "chords": values(chords),
    "failures": {
        # What a language calls the error depends on who took it; both names are known here.
        "states": sorted({failure["state"] for failure in refused}),
        "error": sorted({failure["error"] for failure in refused} | {"CardRefused", "ValueError"}),
    },
}
