"""What Celery's main process would do, the service does."""

import json
import unittest

from harness import LEAVE, run, served

APP = """
    from celery import Celery, signals
    from celery.worker.control import control_command, inspect_command

    app = Celery("proj", broker="memory://", backend="redis://localhost:1/1")

    @app.task
    def add(x, y):
        return x + y

    @app.task(ignore_result=True)
    def quiet():
        pass

    @app.task(acks_late=True, reject_on_worker_lost=True)
    def late():
        pass

    @app.task
    def errback(request, error, traceback):
        print(f"errback {request.id} {error!r}")

    @control_command(args=[("n", int)])
    def twice(state, n):
        return {"ok": n * 2, "node": state.hostname}

    @inspect_command()
    def breaks(state):
        raise KeyError("broken")

    def noting(name):
        def note(sender=None, **fields):
            request = fields.get("request")
            names = {key: fields[key] for key in ("terminated", "signum", "expired", "name", "sig", "how") if key in fields}
            print(f"signal {name} {getattr(request, 'id', None)} {names}")
        return note

    for name in ("task_received", "task_revoked", "task_rejected", "task_unknown", "task_failure", "worker_ready",
                 "worker_shutting_down", "worker_shutdown"):
        getattr(signals, name).connect(noting(name), weak=False)
    """


class Service(unittest.TestCase):
    """Results, handlers and log lines are Celery's."""

    @classmethod
    def setUpClass(cls):
        cls.server = served({"proj.py": APP})
        cls.service = cls.server.fork(1, "service")
        assert cls.service.next()[0] == "hello"

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def call(self, method, run=None, **fields):
        """The answer, what was stored, and what came to the log."""
        before = len(self.server.said())
        answer, stored = self.service.call(method, run, **fields)
        return answer, [(head, json.loads(body)) for head, body in stored], self.server.said()[before:]

    def test_signals_are_reported(self):
        self.assertEqual(len(self.server.report["listening"]), 8)
        self.assertEqual(self.server.report["control"], ["breaks", "twice"])

    def test_received(self):
        answer, _, said = self.call("received", run("proj.add", 1, 1, id="a"))
        self.assertEqual(answer, {"ok": None})
        self.assertIn("signal task_received a {}", said)
        self.assertNotIn("Task proj.add[a] received", said)

    def test_revoked(self):
        for reason, names in {
            "revoked": "{'terminated': False, 'signum': None, 'expired': False}",
            "expired": "{'terminated': False, 'signum': None, 'expired': True}",
            "terminated": "{'terminated': True, 'signum': 'SIGTERM', 'expired': False}",
        }.items():
            fields = {"signal": "SIGTERM"} if reason == "terminated" else {}
            answer, stored, said = self.call("revoked", run("proj.add", 1, 1, id="b"), reason=reason, **fields)
            self.assertEqual(answer, {"ok": {"settled": "ack"}})
            ((head, meta),) = stored
            self.assertEqual((head["id"], head["state"]), ("b", "REVOKED"))
            expected = {"exc_type": "TaskRevokedError", "exc_message": [reason], "exc_module": "celery.exceptions"}
            self.assertEqual(meta["result"], expected)
            self.assertIn(f"signal task_revoked b {names}", said)
            self.assertEqual("Discarding revoked task: proj.add[b]" in said, reason != "terminated")

    def test_revoked_without_result(self):
        self.assertEqual(self.call("revoked", run("proj.quiet", id="c"), reason="revoked")[1], [])

    def test_timeout_with_errback(self):
        errback = {"task": "proj.errback", "args": [], "kwargs": {}, "options": {}, "subtask_type": None, "immutable": False}
        call = run("proj.add", 1, 1, id="d", embed={"errbacks": [errback]})
        answer, stored, said = self.call("timeout", call, limit=1.0)
        self.assertIn("ok", answer)
        expected = {"exc_type": "TimeLimitExceeded", "exc_message": [1], "exc_module": "billiard.exceptions"}
        self.assertEqual(stored[0][1]["result"], expected)
        self.assertIn("Hard time limit (1s) exceeded for proj.add[d]", said)
        self.assertIn("errback d TimeLimitExceeded(1", said)

    def test_lost_even_if_the_task_would_run_again(self):
        reason = "Worker exited prematurely: signal 9 (SIGKILL) Job: 7."
        for task in ("proj.add", "proj.late"):
            answer, stored, said = self.call("lost", run(task, id="e"), reason=reason, comes_again=False)
            self.assertEqual(answer["ok"]["end"], "failed")
            expected = {"exc_type": "WorkerLostError", "exc_message": [reason], "exc_module": "billiard.exceptions"}
            self.assertEqual(stored[0][1]["result"], expected)
            self.assertIn("signal task_failure", said)

    def test_lost_and_delivered_again(self):
        answer, stored, said = self.call("lost", run("proj.late", id="e"), reason="signal 9", comes_again=True)
        self.assertEqual(answer, {"ok": {"settled": "requeue", "end": "failed"}})
        self.assertEqual(stored, [])
        self.assertNotIn("signal task_failure", said)

    def test_unknown(self):
        answer, stored, said = self.call("unknown", run("proj.nope", 1, id="f"))
        self.assertEqual(answer, {"ok": {"settled": "reject"}})
        expected = {"exc_type": "NotRegistered", "exc_message": ["proj.nope"], "exc_module": "celery.exceptions"}
        self.assertEqual(stored[0][1]["result"], expected)
        self.assertIn("Received unregistered task of type 'proj.nope'.", said)
        self.assertIn("signal task_unknown None {'name': 'proj.nope'}", said)

    def test_rejected(self):
        _, _, said = self.call("rejected", run("proj.add", body=b"junk"))
        self.assertIn("signal task_rejected", said)

    def test_lifecycle(self):
        self.assertIn("signal worker_ready", self.call("lifecycle", event="ready")[2])
        said = self.call("lifecycle", event="shutting_down", signal="SIGTERM", how="Warm", exitcode=0)[2]
        self.assertIn("signal worker_shutting_down None {'sig': 'SIGTERM', 'how': 'Warm'}", said)
        self.assertIn("signal worker_shutdown", self.call("lifecycle", event="shutdown")[2])

    def test_control(self):
        answer = self.call("control", name="twice", arguments={"n": 4})[0]
        self.assertEqual(answer, {"ok": {"ok": 8, "node": "celery@test"}})
        self.assertEqual(self.call("control", name="breaks")[0], {"error": "KeyError('broken')"})
        self.assertEqual(self.call("control", name="nope")[0], {"error": "KeyError('nope')"})

    def test_a_method_that_is_not_there(self):
        self.assertIn("error", self.call("nope")[0])

    def test_a_body_that_cannot_be_read_does_not_keep_a_call_from_its_end(self):
        answer, stored, _ = self.call("revoked", run("proj.add", id="g", body=b"junk"), reason="revoked")
        self.assertEqual((answer["ok"]["settled"], stored[0][0]["state"]), ("ack", "REVOKED"))

    def test_it_leaves(self):
        service = self.server.fork(2, "service")
        service.next()
        service.send(LEAVE)
        self.assertEqual(self.server.exited()["status"], 0)


class OwnLogging(unittest.TestCase):
    """An app that logs in its own way has its lines written by its own handlers."""

    def test_line_of_a_received_task(self):
        source = APP + "\n    app.conf.worker_log_format = '%(levelname)s %(message)s'\n"
        with served({"proj.py": source}) as server:
            service = server.fork(1, "service")
            service.next()
            service.call("received", run("proj.add", 1, 1, id="h"))
            self.assertIn("INFO Task proj.add[h] received\n", server.said())


if __name__ == "__main__":
    unittest.main()
