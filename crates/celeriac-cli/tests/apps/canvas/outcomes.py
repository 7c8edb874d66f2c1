"""Calls in every form that Celery's guides show, and all that is seen of their ends."""
import json
import os
import re
import time

import celery
from celery import chain, chord, group, signature, xmap
from celery.result import AsyncResult, GroupResult

from proj import *  # noqa: F403
from proj import FOLDER, _told, app, notes

PATIENCE = 30

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

#: Signals that nothing of the same call comes before, in the same process.
_BEGIN = ("task_prerun", "task_received", "task_revoked", "task_unknown", "task_rejected")

_OVER_LIMIT = "task_failure TimeLimitExceeded"

#: What Celery's main process tells and ours leaves to the child, which knows it first.
_ELSEWHERE = (_OVER_LIMIT, "task_failure Reject")

#: What no two runs have in common.
_PASSING = re.compile(r"(?<=gen)\d+@|0x[0-9a-f]+")


def until(is_so):
    """Waits until something is so."""
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def wait_for_notes(name, count):
    """The lines of a file, when there are so many."""
    until(lambda: len(notes(name)) >= count)
    return notes(name)


def end(call):
    """All that is stored of a call, when it has ended."""
    try:
        call.get(timeout=PATIENCE, propagate=False, disable_sync_subtasks=False)
    except Exception as error:
        return ["raised", type(error).__name__, str(error)]
    return stored(call)


def stored(call):
    """What is stored of a call now."""
    meta = dict(app.backend.get_task_meta(call.id))
    result = meta.pop("result", None)
    meta["result"] = [type(result).__name__, repr(result)] if isinstance(result, BaseException) else _told(result)
    if isinstance(result, BaseException):
        meta["cause"] = repr(result.__cause__)
    if meta.get("traceback"):
        meta["traceback"] = lines_of_the_app(meta["traceback"])
    # The part that was the last to end sends a chord's body, and that may be any.
    meta["parent_id"] = bool(meta.get("parent_id"))
    meta["date_done"] = type(meta.get("date_done")).__name__
    meta["children"] = [family(child) for child in meta.get("children") or []]
    if "stamped_headers" in meta:
        # The client has them in any order.
        meta["stamped_headers"] = sorted(meta["stamped_headers"])
    return {key: value if key == "result" else _told(value) for key, value in sorted(meta.items())}


def lines_of_the_app(traceback):
    """What a traceback says, without the frames of what runs the app."""
    lines = traceback.splitlines()
    own = [line for line in lines if line.startswith("  ") and FOLDER in line]
    return own + [line for line in lines if not line.startswith(" ")]


def family(result):
    """A result's id with those below it."""
    if isinstance(result, GroupResult):
        return {"group": [family(one) for one in result.results]}
    if isinstance(result, AsyncResult):
        return {"call": result.id}
    return _told(result)


def line(call):
    """A call and those before it in its chain."""
    found = []
    while call is not None:
        found.append(group_end(call) if isinstance(call, GroupResult) else end(call))
        call = call.parent
    return found


def group_end(result):
    """The ends of a group's calls."""
    return [group_end(one) if isinstance(one, GroupResult) else end(one) for one in result.results]


def calls():
    """One call and what it gives or raises."""
    yield "a call", lambda: end(add.delay(2, 2))
    yield "keywords", lambda: end(add.apply_async((2,), {"y": 3, "more": 4}))
    yield "by its name", lambda: end(app.send_task("proj.add", (1, 2), queue=os.environ["QUEUE"]))
    yield "values", lambda: end(values.delay())
    yield "values back", lambda: end(echo.delay(b"\xff", when=datetime(2024, 1, 1), big=2**70, text="\u00e4"))
    yield "pickle", lambda: end(add.apply_async(([1], [2]), {"more": [3]}, serializer="pickle"))
    yield "compressed", lambda: end(echo.apply_async(("x" * 5000,), compression="zlib"))
    yield "large", lambda: len(str(end(echo.delay("x" * 300_000))))
    yield "failure", lambda: end(fail.delay("broken \u00e4"))
    yield "failure with a cause", lambda: end(refuse.delay(7, "full"))
    yield "an odd exception", lambda: end(raise_odd.delay())
    yield "an exception that is no JSON", lambda: end(raise_unserialisable.delay())
    yield "a result that is no JSON", lambda: end(unserialisable.delay())
    yield "too few arguments", lambda: end(app.send_task("proj.add", (1,), queue=os.environ["QUEUE"]))
    yield "nobody's task", lambda: end(app.send_task("proj.nobody", (1,), queue=os.environ["QUEUE"]))
    yield "expired", lambda: end(add.apply_async((1, 1), expires=-1))
    yield "in a while", lambda: end(add.apply_async((1, 1), countdown=0.3))
    yield "children", lambda: end(calls_another.delay())
    yield "waits within", lambda: end(waits_within.delay())
    yield "waits within, allowed", lambda: end(waits_within_if_allowed.delay())
    yield "soft limit", lambda: [end(soft.delay(True)), end(soft.delay(False))]
    yield "hard limit", lambda: end(hard.delay())
    yield "death", lambda: end(dies.delay())["status"]
    if celery.VERSION >= (5, 7):
        # Before, the end of such a call is never told.
        yield "exit", lambda: end(exits.delay(3))["status"]
    yield "recursion", lambda: [end(recurses.delay())[key] for key in ("status", "retries")]


def requests():
    """What a task sees of its request."""
    yield "a request", lambda: end(whole_request.delay(1, two=2))
    yield "a request with all options", lambda: end(
        whole_request.apply_async(
            (1,),
            headers={"colour": "red"},
            priority=3,
            shadow="alias",
            time_limit=500,
            soft_time_limit=400,
            argsrepr="(secret)",
            expires=86_400,
            link=leave.s("linked"),
            link_error=errback.s(),
            ignore_result=False,
            correlation_id="mine",
        )
    )
    yield "a request in a chain", lambda: line((add.s(1, 1) | whole_request.s() | add.si(1, 1)).delay())[1]
    yield "a request in a chord", lambda: group_end(
        chord([whole_request.s(1), add.s(1, 1)], gather.s("body")).delay().parent
    )[0]
    yield "a request as a chord's body", lambda: end(chord([add.s(1, 1)], whole_request.s()).delay())
    yield "a request with stamps", lambda: end(_stamped().apply_async())
    if not ON_REDIS:
        yield "a request through a topic", lambda: end(elsewhere.delay(1))


def _stamped():
    stamped = whole_request.s(1)
    stamped.stamp(batch="seven", many=["a", "b"])
    return stamped


def retries():
    """Calls that run again."""
    yield "retries", lambda: end(stubborn.delay(2))
    yield "retries used up", lambda: end(stubborn.delay(9, "never"))
    yield "retries used up without a reason", lambda: end(gives_up.delay())
    yield "other arguments", lambda: end(changes_its_arguments.delay([]))
    yield "automatic", lambda: [end(restless.delay("restless")), notes("restless")]
    yield "not for all", lambda: end(picky.delay())
    yield "in a chain", lambda: line((stubborn.s(1) | gather.s("after")).delay())


def states():
    """Results in between, and none."""
    yield "a state of its own", _halfway
    yield "a state that stays", lambda: _settled(leaves_a_state.delay(), "SHIPPED")
    yield "none", lambda: [_after(silent.delay("silent"), "silent"), _after(ignored.delay())]
    yield "none for this call", lambda: _after(add.apply_async((1, 1), ignore_result=True))
    yield "errors only", lambda: _settled(silent_but_for_errors.delay(), "FAILURE")
    yield "rejected", lambda: [end(rejects.delay("rejects")), notes("rejects")]
    yield "rejected until it comes again", lambda: [
        end(rejects_until_redelivered.delay("again")),
        sorted(set(notes("again")[1:])),
        notes("again")[0],
        len(notes("again")),
    ]


def _halfway():
    call = in_steps.delay("steps")
    wait_for_notes("steps", 1)
    until(lambda: call.state == "HALFWAY")
    seen = stored(call)
    open(os.path.join(FOLDER, "steps.go"), "w").close()
    return [seen, end(call)]


def _settled(call, state):
    until(lambda: call.state == state)
    return _after(call)


def _after(call, name=None):
    if name:
        wait_for_notes(name, 1)
    # What was sent after it has ended: had it a result, it would be there.
    for _ in range(4):
        end(add.delay(0, 0))
    return stored(call)


def canvases():
    """Signatures composed."""
    yield "chain", lambda: line((add.s(1, 2) | add.s(10) | double.s()).delay())
    yield "chain of one", lambda: line(chain(add.s(1, 2)).delay())
    yield "chain with immutable parts", lambda: line((add.s(1, 2) | add.si(5, 5) | double.s()).delay())
    yield "chain that breaks", lambda: line((add.s(1, 2) | fail_with.s("at") | double.s()).delay())
    yield "chain with options", lambda: line(chain(add.s(1, 2).set(countdown=0.1), double.s()).apply_async(link=leave.s("end")))
    yield "group", lambda: group_end(group(add.s(i, i) for i in range(5)).delay())
    yield "group of none", lambda: group([]).delay().get()
    yield "group with a failure", lambda: group_end(group(add.s(1, 1), fail.s(), add.s(2, 2)).delay())
    yield "groups in groups", lambda: group_end(group(group(add.s(1, 1), add.s(2, 2)), add.s(3, 3)).delay())
    yield "group in a chain", lambda: line((add.s(1, 1) | group(add.s(10), double.s())).delay())
    yield "group, then a task", lambda: line((group(add.s(1, 1), add.s(2, 2)) | total.s()).delay())
    yield "group, group, task", lambda: end((group(add.s(1, 1), add.s(2, 2)) | group(total.s(), gather.s("g")) | gather.s("end")).delay())
    yield "chunks", lambda: group_end(add.chunks(zip(range(10), range(10)), 3).apply_async())
    yield "chunks as a group", lambda: add.chunks(zip(range(4), range(4)), 3).group().delay().get(timeout=PATIENCE)
    yield "map", lambda: end(double.map([1, 2, 3]).delay())
    yield "xmap", lambda: end(xmap(double.s(), [4, 5]).delay())
    yield "starmap", lambda: end(add.starmap([(1, 2), (3, 4)]).delay())
    yield "partial", lambda: end(add.s(1).clone((2,), {"more": 3}).delay())
    yield "from JSON", lambda: end(signature(json.loads(json.dumps(add.s(1, 2) | double.s())), app=app).delay())


def chords():
    """Groups that a task follows."""
    yield "chord", lambda: line(chord((add.s(i, i) for i in range(10)), total.s()).delay())
    yield "chord of one", lambda: end(chord([add.s(1, 1)], total.s()).delay())
    yield "chord of none", lambda: end(chord([], total.s()).delay())
    yield "chord with an immutable body", lambda: end(chord([add.s(1, 1)] * 2, add.si(3, 4)).delay())
    yield "chord that breaks", lambda: end(chord([add.s(1, 1), fail.s("part")], total.s()).delay())
    yield "chord whose body breaks", lambda: end(chord([add.s(1, 1)] * 2, fail_with.s("body")).delay())
    yield "chord in a chain", lambda: end((add.s(1, 1) | chord([add.s(1), add.s(2)], total.s()) | double.s()).delay())
    yield "chains in a chord", lambda: end(chord([add.s(1, 1) | double.s(), add.s(2, 2) | double.s()], gather.s("c")).delay())
    yield "chord in a chord", lambda: end(chord([chord([add.s(1, 1), add.s(2, 2)], total.s()), add.s(3, 3)], gather.s("o")).delay())


def links():
    """What follows a call besides."""
    yield "link", lambda: [end(add.apply_async((1, 1), link=leave.s("link"))), wait_for_notes("link", 1)]
    yield "links", lambda: [
        end(add.apply_async((1, 1), link=[leave.s("links"), double.s() | leave.s("links"), group(leave.s("links"), leave.s("links"))])),
        sorted(wait_for_notes("links", 4)),
    ]
    yield "errbacks", lambda: [end(fail.apply_async(link_error=[errback.s(), old_errback.s()])), sorted(wait_for_notes("errbacks", 2))]
    yield "errback of a chain", lambda: [end((add.s(1, 1) | fail_with.s("x")).apply_async(link_error=errback.s())), sorted(wait_for_notes("errbacks", 3))]
    yield "errback of a chord", lambda: [
        end(chord([fail.s("p")], total.s().on_error(errback.s())).delay()),
        sorted(wait_for_notes("errbacks", 4)),
    ]
    yield "errback in a group", lambda: [
        group_end(group(fail.s("g").on_error(errback.s()), add.s(1, 1)).delay()),
        sorted(wait_for_notes("errbacks", 5)),
    ]
    yield "errback of what nobody knows", lambda: [
        end(app.send_task("proj.nobody", queue=os.environ["QUEUE"], link_error=errback.s())),
        _after(add.delay(0, 0)),
    ]
    yield "errback of a hard limit", lambda: [
        end(hard.apply_async(link_error=leave.si("told", "limits"))),
        # Celery 5.7 calls it twice, by two handlers of the same end.
        set(wait_for_notes("limits", 1)) == {"'told'"},
    ]


def replacements():
    """Tasks that put others in their place."""
    yield "by a task", lambda: end(replaced.delay(1))
    yield "by a chain", lambda: end(replaced_by_chain.delay(1))
    yield "by a group", lambda: end(replaced_by_group.delay(3))
    yield "by a chord", lambda: end(replaced_by_chord.delay(3))
    yield "within a chain", lambda: line((add.s(1, 1) | replaced.s() | double.s()).delay())[0]
    yield "within a chord", lambda: end(chord([replaced.s(1), add.s(1, 1)], gather.s("r")).delay())
    yield "with a link", lambda: [end(replaced.apply_async((5,), link=leave.s("replaced"))), wait_for_notes("replaced", 1)]


def hooks():
    """What task classes are told."""

    def all_of_them():
        ends = [end(audited.delay(x)) for x in (2, 0, "retry")]
        # An attempt may begin before the one before it, in another process, has told its end.
        return [ends, sorted(wait_for_notes("audit", 11))]

    yield "hooks", all_of_them


def told():
    """How often which signals told of a call, by its task; those of one attempt are in their order."""
    of_calls = {}
    for line in notes("signals"):
        pid, id, name, task, *more = line.split(" ")
        attempts = of_calls.setdefault((id, task), {}).setdefault(pid, [[]])
        told = " ".join([name, *more])
        if told == _OVER_LIMIT and [told] in attempts:
            # Celery 5.7 tells it twice, by two handlers of the same end.
            continue
        if name in _BEGIN or told in _ELSEWHERE:
            attempts.append([])
        attempts[-1].append(told)
    counted = {}
    for (_, task), processes in of_calls.items():
        attempts = sorted(one for attempts in processes.values() for one in attempts if one)
        call = json.dumps([task, *attempts])
        counted[call] = counted.get(call, 0) + 1
    return counted


def plain(value):
    """Without what no two runs have in common: ids are numbered as they appear."""
    text = json.dumps(value, sort_keys=True)
    names = {}
    for name in ("FOLDER", "QUEUE", "PREFIX"):
        text = text.replace(os.environ[name], name)
    text = _ID.sub(lambda id: names.setdefault(id.group(), f"id {len(names) + 1}"), text)
    return json.loads(_PASSING.sub("PASSING", text))


def outcomes(*parts):
    """By the name of each case, what came of it."""
    found = {}
    for part in parts:
        for name, case in part():
            try:
                value = case()
            except Exception as error:
                value = ["could not be told", type(error).__name__, str(error)]
            found[f"{part.__name__}: {name}"] = plain(value)
    return found
