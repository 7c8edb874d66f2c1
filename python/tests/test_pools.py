"""The pools whose processes run many calls at once."""

import json
import time
import unittest

from harness import CANCEL, LEAVE, SOFT, served

APP = """
    import asyncio
    import os
    import threading
    import time

    from celery import Celery, current_task

    app = Celery("proj", broker="memory://", backend="redis://localhost:1/1")
    together = threading.Barrier(4)

    @app.task
    def meets():
        return together.wait(20)

    @app.task
    def add(x, y):
        return x + y

    @app.task(bind=True)
    async def naps(self, seconds):
        ids = [self.request.id, current_task.request.id]
        await asyncio.sleep(seconds)
        ids += [self.request.id, current_task.request.id]
        await asyncio.gather(inner(self, ids), inner(self, ids))
        return ids

    async def inner(task, ids):
        await asyncio.sleep(0)
        ids.append(task.request.id)

    @app.task
    async def naps_long(text):
        try:
            await asyncio.sleep(20)
        except Exception as error:
            return text + repr(error)

    @app.task
    async def insists():
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            return "stays"

    @app.task
    async def blocks():
        await asyncio.sleep(0)
        time.sleep(0.5)

    @app.task(bind=True, autoretry_for=(OSError,), max_retries=1)
    async def flaky(self):
        await asyncio.sleep(0)
        raise OSError("try again")

    @app.task
    def exits():
        raise SystemExit(4)

    @app.task(bind=True)
    async def progresses(self):
        self.update_state(state="PROGRESS", meta={})
        await asyncio.sleep(0.01)
        return 1
    """


def outcomes(child, calls):
    """What these calls came to, by their numbers, in the order of their ends."""
    found = {}
    stored = {}
    while len(found) < len(calls):
        kind, seq, payload = child.next()
        if kind == "done":
            found[seq] = json.loads(payload), stored.get(seq)
        elif kind == "store":
            stored[seq] = json.loads(payload[4 + int.from_bytes(payload[:4], "little") :])
    return found


class Threads(unittest.TestCase):
    """`-P threads -c 4`."""

    def setUp(self):
        self.server = served({"proj.py": APP}, pool="threads", slots=4)
        self.addCleanup(self.server.__exit__)
        self.child = self.server.fork()

    def test_as_many_as_there_are_threads_run_at_once(self):
        calls = [self.child.start("proj.meets") for _ in range(4)]
        found = outcomes(self.child, calls)
        self.assertEqual(sorted(found[seq][1]["result"] for seq in calls), [0, 1, 2, 3])

    def test_results_belong_to_their_calls(self):
        calls = {self.child.start("proj.add", number, 1): number for number in range(50)}
        found = outcomes(self.child, calls)
        self.assertEqual({seq: found[seq][1]["result"] for seq in calls}, {seq: n + 1 for seq, n in calls.items()})

    def test_coroutines_run_here_too(self):
        self.assertEqual(len(set(self.child.run("proj.naps", 0.01, id="x").meta["result"])), 1)

    def test_all_leave(self):
        call = self.child.start("proj.add", 1, 1)
        self.child.send(LEAVE)
        self.assertEqual(outcomes(self.child, [call])[call][0]["end"], "succeeded")
        self.assertEqual(self.server.exited()["status"], 0)

    def test_a_task_that_exits_takes_the_process_with_it(self):
        outcome = self.child.run("proj.exits")
        self.assertEqual(outcome.end, "lost")
        self.assertEqual(self.server.exited()["status"], 4)


class Coroutines(unittest.TestCase):
    """`-P coroutines -c 50`."""

    source = APP

    @classmethod
    def setUpClass(cls):
        cls.server = served({"proj.py": cls.source}, pool="coroutines", slots=50)
        cls.child = cls.server.fork()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def test_many_at_once_and_each_knows_itself(self):
        begun = time.monotonic()
        calls = {self.child.start("proj.naps", 1, id=f"id-{number}"): f"id-{number}" for number in range(50)}
        found = outcomes(self.child, calls)
        self.assertLess(time.monotonic() - begun, 20)
        for seq, id in calls.items():
            self.assertEqual((found[seq][0]["end"], found[seq][1]["result"]), ("succeeded", [id] * 6))

    def test_more_than_there_is_room_for_wait_unread(self):
        calls = [self.child.start("proj.naps", 0.3) for _ in range(60)]
        begun = 0
        while True:
            kind, _, payload = self.child.next()
            begun += kind == "started"
            if kind == "done":
                break
        self.assertEqual(begun, 50)
        self.assertEqual(json.loads(payload)["end"], "succeeded")
        outcomes(self.child, calls[1:])

    def test_soft_limit_of_one(self):
        other = self.child.start("proj.naps", 1)
        call = self.child.start("proj.naps_long", "told: ")
        self.wait_for_start(call)
        self.child.send(SOFT, call)
        found = outcomes(self.child, [call, other])
        self.assertEqual(found[call][1]["result"], "told: SoftTimeLimitExceeded()")
        self.assertEqual(found[other][0]["end"], "succeeded")

    def test_cancellation_of_one(self):
        call = self.child.start("proj.naps_long", "")
        self.wait_for_start(call)
        self.child.send(CANCEL, call)
        found = outcomes(self.child, [call])
        self.assertEqual(found[call], ({"end": "lost", "reason": "cancelled"}, None))

    def test_what_is_cancelled_may_end_well(self):
        call = self.child.start("proj.insists")
        self.wait_for_start(call)
        self.child.send(CANCEL, call)
        self.assertEqual(outcomes(self.child, [call])[call][1]["result"], "stays")

    def test_a_coroutine_that_has_ended_is_not_interrupted(self):
        call = self.child.start("proj.naps", 0)
        outcomes(self.child, [call])
        self.child.send(CANCEL, call)
        self.child.send(SOFT, call)
        self.assertEqual(self.child.run("proj.add", 1, 1).end, "succeeded")

    def test_who_blocks_the_loop_is_named(self):
        self.child.run("proj.blocks")
        said = self.server.said()
        self.assertIn("Task proj.blocks blocks the event loop", said)
        self.assertIn("time.sleep(0.5)", said)

    def test_retries_states_and_plain_functions(self):
        self.assertEqual(self.child.run("proj.flaky").end, "retried")
        self.assertEqual(self.child.run("proj.progresses").states, ["PROGRESS", "SUCCESS"])
        self.assertEqual(self.child.run("proj.add", 1, 2).meta["result"], 3)

    def test_what_follows_a_coroutine_is_sent(self):
        step = {"task": "proj.add", "args": [1], "kwargs": {}, "options": {"task_id": "next"}, "subtask_type": None}
        outcome = self.child.run("proj.naps", 0, embed={"chain": [{**step, "immutable": False}]})
        self.assertEqual(outcome.end, "succeeded")
        self.assertEqual(outcome.meta["children"][0][0][0], "next")

    def test_failures_are_told_with_the_line_of_the_coroutine(self):
        outcome = self.child.run("proj.flaky", retries=1)
        self.assertEqual((outcome.end, outcome.conclusion["exception"]), ("failed", "OSError('try again')"))
        self.assertIn("in flaky", outcome.conclusion["traceback"])
        outcome = self.child.run("proj.naps")
        self.assertEqual((outcome.end, outcome.meta["result"]["exc_type"]), ("failed", "TypeError"))
        self.assertEqual(self.child.run("proj.naps", body=b"junk").end, "rejected")

    def test_how_long_a_coroutine_took_is_told(self):
        self.assertGreater(self.child.run("proj.naps", 0.2).conclusion["runtime"], 0.2)

    def test_leaving_waits_for_what_runs(self):
        child = self.server.fork(2)
        call = child.start("proj.naps", 0.2)
        child.send(LEAVE)
        self.assertEqual(outcomes(child, [call])[call][0]["end"], "succeeded")
        self.assertEqual(self.server.exited()["status"], 0)

    def wait_for_start(self, call):
        # Also until it waits, so that there is something to interrupt.
        while self.child.next()[:2] != ("started", call):
            pass
        time.sleep(0.2)


class Handled(Coroutines):
    """The same for an app whose handlers see a call before its coroutine runs."""

    source = APP + """
    from celery import signals

    @signals.task_prerun.connect
    def before(task=None, **_):
        print(f"before {task.request.id}")
    """

    def test_handlers_are_called_with_the_request(self):
        self.child.run("proj.naps", 0, id="seen")
        self.assertIn("before seen", self.server.said())


if __name__ == "__main__":
    unittest.main()
