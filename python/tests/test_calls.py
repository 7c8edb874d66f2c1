"""A call comes to what it would come to under Celery's own worker."""

import os
import time
import unittest

from harness import LEAVE, RUN, run, served

APP = """
    import os
    import time

    from celery import Celery, signals
    from celery.exceptions import Ignore, Reject

    app = Celery("proj", broker="memory://", backend="redis://localhost:1/1")
    app.conf.accept_content = ["json", "pickle"]

    @app.task
    def add(x, y):
        return x + y

    @app.task
    def fails(text="boom"):
        raise ValueError(text)

    @app.task(ignore_result=True)
    def fails_quietly():
        raise ValueError("boom")

    @app.task(bind=True)
    def about(self):
        request = self.request
        return {
            "id": request.id,
            "task": request.task,
            "hostname": request.hostname,
            "delivery_info": request.delivery_info,
            "args": request.args,
            "reply_to": request.reply_to,
            "correlation_id": request.correlation_id,
            "headers": request.headers,
            "is_eager": request.is_eager,
            "called_directly": request.called_directly,
        }

    @app.task(bind=True)
    def again(self):
        raise self.retry(exc=KeyError("later"), countdown=5)

    @app.task(autoretry_for=(OSError,), retry_kwargs={"max_retries": 1, "countdown": 1})
    def flaky():
        raise OSError("try again")

    @app.task
    def ignores():
        raise Ignore()

    @app.task
    def rejects(requeue):
        raise Reject("not now", requeue=requeue)

    @app.task(bind=True)
    def progresses(self):
        self.update_state(state="PROGRESS", meta={"done": 1})
        return self.AsyncResult(self.request.id).state

    @app.task(track_started=True)
    def tracked():
        return 1

    @app.task
    def unserialisable():
        return object()

    class Rude(Exception):
        def __repr__(self):
            raise RuntimeError("no")
        __str__ = __repr__

    @app.task
    def rude():
        raise Rude()

    @app.task
    def local():
        class Local(Exception):
            pass
        raise Local(lambda: 1)

    @app.task
    def deep():
        return deep()

    @app.task
    def big(size):
        return "x" * size

    @app.task
    def leaves(code):
        raise SystemExit(code)

    @app.task
    def out_of_memory():
        raise MemoryError("all of it")

    @app.task
    def coroutine():
        async def inner():
            pass
        return inner()

    @app.task
    def pid():
        return os.getpid()

    @app.task
    def random():
        import random
        return random.random()

    @app.task
    def after(path):
        return 1

    @signals.task_success.connect(sender=None)
    def told(sender=None, result=None, **_):
        if sender.name == "proj.after":
            time.sleep(0.3)
    """


class Calls(unittest.TestCase):
    """Every end that a call can have."""

    @classmethod
    def setUpClass(cls):
        cls.server = served({"proj.py": APP.replace("@signals.task_success.connect(sender=None)", "")})
        cls.child = cls.server.fork()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def test_success_is_stored_as_celery_stores_it(self):
        outcome = self.child.run("proj.add", 2, 2, id="the-id", group="g", root_id="r", parent_id="p")
        self.assertTrue(outcome.started)
        self.assertEqual((outcome.end, outcome.conclusion["result"]), ("succeeded", "4"))
        self.assertGreater(outcome.conclusion["runtime"], 0)
        (head,) = outcome.heads
        expected = ("the-id", "SUCCESS", "application/json", 86400)
        self.assertEqual((head["id"], head["state"], head["content_type"], head["ttl"]), expected)
        meta = outcome.meta
        self.assertTrue(meta.pop("date_done"))
        expected = {"status": "SUCCESS", "result": 4, "traceback": None, "children": [], "task_id": "the-id"}
        self.assertEqual(meta, {**expected, "group_id": "g", "parent_id": "p"})

    def test_failure(self):
        outcome = self.child.run("proj.fails")
        self.assertEqual((outcome.end, outcome.conclusion["exception"]), ("failed", "ValueError('boom')"))
        self.assertIn("ValueError: boom", outcome.conclusion["traceback"])
        expected = {"exc_type": "ValueError", "exc_message": ["boom"], "exc_module": "builtins"}
        self.assertEqual((outcome.states, outcome.meta["result"]), (["FAILURE"], expected))

    def test_text_that_is_no_utf8(self):
        outcome = self.child.run("proj.fails", "\ud800")
        self.assertEqual(outcome.end, "failed")
        self.assertIn("ud800", outcome.conclusion["traceback"])

    def test_request_is_whole(self):
        outcome = self.child.run("proj.about", id="an-id", mine="own header")
        about = outcome.meta["result"]
        self.assertEqual((about["id"], about["task"], about["hostname"]), ("an-id", "proj.about", "celery@test"))
        expected = {"exchange": "", "routing_key": "celery", "priority": 0, "redelivered": False}
        self.assertEqual(about["delivery_info"], expected)
        self.assertEqual((about["reply_to"], about["correlation_id"]), ("the-reply-queue", "an-id"))
        self.assertEqual(about["headers"].get("mine"), "own header")
        self.assertEqual((about["is_eager"], about["called_directly"]), (False, False))

    def test_retry(self):
        outcome = self.child.run("proj.again")
        self.assertEqual((outcome.end, outcome.states), ("retried", ["RETRY"]))
        self.assertEqual(outcome.conclusion["exception"], "KeyError('later')")

    def test_automatic_retry_and_its_end(self):
        self.assertEqual(self.child.run("proj.flaky").end, "retried")
        last = self.child.run("proj.flaky", retries=1)
        self.assertEqual((last.end, last.conclusion["exception"]), ("failed", "OSError('try again')"))

    def test_ignored(self):
        outcome = self.child.run("proj.ignores")
        self.assertEqual((outcome.end, outcome.states), ("ignored", []))

    def test_rejected(self):
        outcome = self.child.run("proj.rejects", True)
        self.assertEqual((outcome.end, outcome.conclusion["requeue"], outcome.states), ("rejected", True, []))
        outcome = self.child.run("proj.rejects", False)
        self.assertEqual((outcome.end, outcome.conclusion["requeue"]), ("rejected", False))
        stores = self.server.report["versions"]["celery"] >= "5.7"
        self.assertEqual(outcome.states, ["FAILURE"] if stores else [])

    def test_states_on_the_way_are_sent_at_once_and_can_be_read(self):
        packets = self.child.packets
        outcome = self.child.run("proj.progresses")
        self.assertEqual(outcome.states, ["PROGRESS", "SUCCESS"])
        self.assertEqual(outcome.meta["result"], "PROGRESS")
        self.assertGreaterEqual(self.child.packets - packets, 2)

    def test_start_is_stored_with_the_childs_id(self):
        outcome = self.child.run("proj.tracked")
        self.assertEqual(outcome.states, ["STARTED", "SUCCESS"])
        self.assertIn(f'"pid": {self.child.pid}'.encode(), outcome.bodies[0])

    def test_results_that_cannot_be_stored(self):
        outcome = self.child.run("proj.unserialisable")
        self.assertEqual((outcome.end, outcome.states), ("failed", ["FAILURE"]))
        self.assertEqual(outcome.meta["result"]["exc_type"], "EncodeError")

    def test_results_that_are_ignored_are_not_stored(self):
        self.assertEqual(self.child.run("proj.add", 1, 1, ignore_result=True).states, [])
        self.assertEqual(self.child.run("proj.fails_quietly").states, [])

    def test_exceptions_that_cannot_be_shown_or_pickled(self):
        outcome = self.child.run("proj.rude")
        self.assertEqual((outcome.end, outcome.states), ("failed", ["FAILURE"]))
        outcome = self.child.run("proj.local")
        self.assertEqual((outcome.end, outcome.states), ("failed", ["FAILURE"]))

    def test_recursion_without_end(self):
        outcome = self.child.run("proj.deep")
        self.assertEqual(outcome.end, "failed")
        self.assertIn("RecursionError", outcome.conclusion["exception"])
        self.assertEqual(self.child.run("proj.add", 1, 1).end, "succeeded")

    def test_large_packets_in_both_directions(self):
        outcome = self.child.run("proj.big", 3_000_000)
        self.assertEqual(len(outcome.meta["result"]), 3_000_000)
        outcome = self.child.run("proj.add", "x" * 200_000, "y")
        self.assertEqual(len(outcome.meta["result"]), 200_001)

    def test_task_that_nobody_registered(self):
        outcome = self.child.run("proj.nope")
        self.assertEqual((outcome.end, outcome.states), ("failed", ["FAILURE"]))
        self.assertEqual(outcome.meta["result"]["exc_type"], "NotRegistered")

    def test_bodies_that_cannot_be_read_are_rejected(self):
        for body in (b"no json", b"[[], {}]", b'[[{"__type__": "nope", "__value__": 1}], {}, {}]', b"7"):
            with self.subTest(body):
                outcome = self.child.run("proj.add", body=body)
                # An unknown type of value is data to older versions of kombu.
                if outcome.end != "failed":
                    self.assertEqual((outcome.end, outcome.conclusion["requeue"]), ("rejected", False))
        outcome = self.child.run("proj.add", content_type="application/x-yaml", body=b"[[1, 2], {}, {}]")
        self.assertEqual(outcome.end, "rejected")
        self.assertEqual(self.child.run("proj.add", 1, 1).end, "succeeded")

    def test_pickle_and_protocol_1(self):
        import pickle

        body = pickle.dumps(((2, 3), {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}))
        kind = {"content_type": "application/x-python-serialize", "content_encoding": "binary"}
        self.assertEqual(self.child.run("proj.add", body=body, **kind).meta["result"], 5)
        body = b'{"task": "proj.add", "id": "x", "args": [1], "kwargs": {"y": 2}}'
        self.assertEqual(self.child.run("proj.add", body=body).meta["result"], 3)

    def test_what_follows_is_sent_and_told_as_children(self):
        step = {"task": "proj.add", "args": [1], "kwargs": {}, "options": {"task_id": "next"}, "subtask_type": None, "immutable": False}
        outcome = self.child.run("proj.add", 1, 1, embed={"chain": [step]})
        self.assertEqual(outcome.end, "succeeded")
        self.assertEqual(outcome.meta["children"][0][0][0], "next")

    def test_a_chain_that_fails_fails_its_steps_too(self):
        step = {"task": "proj.add", "args": [1], "kwargs": {}, "options": {"task_id": "next"}, "subtask_type": None, "immutable": False}
        outcome = self.child.run("proj.fails", embed={"chain": [step]})
        self.assertEqual([head["id"] for head in outcome.heads][1:], ["next"])
        self.assertEqual(outcome.states, ["FAILURE", "FAILURE"])

    def test_a_plain_function_that_returns_a_coroutine_is_warned_of(self):
        self.child.run("proj.coroutine", ignore_result=True)
        self.child.run("proj.coroutine")
        said = self.server.said()
        self.assertEqual(said.count("Task proj.coroutine is a plain function that returns a coroutine"), 1)

    def test_log_lines_are_celerys(self):
        self.child.run("proj.add", 2, 5, id="of-the-log")
        self.assertRegex(
            self.server.said(),
            r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}: INFO/ForkPoolWorker-1\] "
            r"Task proj.add\[of-the-log\] succeeded in [\d.e-]+s: 7\n",
        )

    def test_what_ends_goes_with_what_begins(self):
        payload = run("proj.add", 1, 1)
        packets = self.child.packets
        for _ in range(50):
            self.child.seq += 1
            self.child.send(RUN, self.child.seq, payload)
        for _ in range(50):
            self.child.until("done")
        self.assertLess(self.child.packets - packets, 100)


class Processes(unittest.TestCase):
    """What calls do to the process that runs them, and the process to them."""

    def setUp(self):
        self.server = served({"proj.py": APP})
        self.addCleanup(self.server.__exit__)

    def test_each_child_is_itself(self):
        first, second = self.server.fork(1), self.server.fork(2)
        self.assertEqual(first.run("proj.pid").meta["result"], first.pid)
        self.assertEqual(second.run("proj.pid").meta["result"], second.pid)
        numbers = {child.run("proj.random").meta["result"] for child in (first, second)}
        self.assertEqual(len(numbers), 2)
        second.run("proj.add", 1, 1)
        self.assertIn("INFO/ForkPoolWorker-2]", self.server.said())

    def test_a_task_that_exits_takes_its_process_with_it(self):
        for code in (0, 3):
            child = self.server.fork(10 + code)
            outcome = child.run("proj.leaves", code)
            reason = f"Worker exited prematurely: exitcode {code}."
            self.assertEqual((outcome.end, outcome.conclusion["reason"]), ("lost", reason))
            self.assertEqual(self.server.exited()["status"], code)

    def test_out_of_memory_is_a_failure_as_any_other(self):
        outcome = self.server.fork().run("proj.out_of_memory")
        self.assertEqual((outcome.end, outcome.conclusion["exception"]), ("failed", "MemoryError('all of it')"))

    def test_child_leaves_after_what_it_runs(self):
        child = self.server.fork()
        child.start("proj.add", 1, 1)
        child.send(LEAVE)
        self.assertEqual(child.until("done")[0], "done")
        self.assertEqual(self.server.exited(), {"number": 1, "pid": child.pid, "status": 0})

    def test_child_leaves_when_the_worker_is_gone(self):
        child = self.server.fork()
        child.close()
        self.assertEqual(self.server.exited()["status"], 0)

    def test_result_is_sent_before_handlers_of_success_run(self):
        child = self.server.fork()
        child.start("proj.after", "x")
        child.until("store")
        begun = time.monotonic()
        child.until("done")
        self.assertGreater(time.monotonic() - begun, 0.1)

    def test_children_die_with_the_fork_server(self):
        child = self.server.fork()
        self.server.process.kill()
        with self.assertRaises(ProcessLookupError):
            for _ in range(1000):
                os.kill(child.pid, 0)
                time.sleep(0.01)


if __name__ == "__main__":
    unittest.main()
