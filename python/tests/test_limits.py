"""Soft time limits, and tasks that harm the process that runs them."""

import os
import signal
import time
import unittest

from harness import LEAVE, RUN, run, served

APP = """
    import asyncio
    import os
    import signal
    import sys
    import time

    from celery import Celery
    from celery.exceptions import SoftTimeLimitExceeded

    app = Celery("proj", broker="memory://", backend="redis://localhost:1/1")

    def told(path, text="x"):
        with open(path, "a") as file:
            file.write(text)

    @app.task
    def add(x, y):
        return x + y

    @app.task
    def spins(path):
        told(path)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            pass

    @app.task
    def catches(path):
        try:
            told(path)
            time.sleep(20)
        except SoftTimeLimitExceeded:
            return "caught"

    @app.task(bind=True)
    async def sleeps(self, path):
        try:
            told(path)
            await asyncio.sleep(20)
        except SoftTimeLimitExceeded:
            await asyncio.sleep(0)
            return "caught by " + self.request.id

    @app.task
    async def gathers(path):
        told(path)
        await asyncio.gather(asyncio.sleep(20), asyncio.sleep(30))

    @app.task
    async def spins_within(path):
        told(path)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            pass

    @app.task
    async def doubles(x):
        await asyncio.sleep(0)
        return 2 * x

    @app.task
    async def calls(x):
        return await doubles(x) + await doubles.run(x)

    @app.task
    async def applies(x):
        return doubles.apply((x,)).result

    @app.task(autoretry_for=(OSError,), max_retries=3)
    async def flaky():
        raise OSError("try again")

    @app.task
    async def cancels_itself():
        asyncio.current_task().cancel()
        await asyncio.sleep(1)

    @app.task
    def changes_signals():
        for number in (signal.SIGUSR1, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)

    @app.task
    def forks():
        if os.fork() == 0:
            return "grandchild"
        return "child"

    @app.task
    def closes_stdio():
        os.close(1)
        os.close(2)

    @app.task
    def closes_all():
        os.closerange(3, 256)
        open("/dev/null"), open("/dev/null"), open("/dev/null")

    @app.task
    def writes_everywhere():
        for number in range(3, 256):
            try:
                os.write(number, b"junk" * 10)
            except OSError:
                pass

    @app.task
    def exits(code):
        os._exit(code)

    @app.task
    def prints(lines):
        for number in range(lines):
            print(f"line {number}")

    @app.task
    def finishes(path):
        try:
            told(path, "s")
            time.sleep(20)
        finally:
            told(path, "f")
    """


class Limits(unittest.TestCase):
    """`SoftTimeLimitExceeded` comes into the call that it is for."""

    @classmethod
    def setUpClass(cls):
        cls.server = served({"proj.py": APP})
        cls.child = cls.server.fork()
        cls.count = 0

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def softly(self, task):
        """Runs it, and interrupts it when it runs."""
        type(self).count += 1
        path = os.path.join(self.server.folder.name, f"told-{self.count}")
        seq = self.child.start(task, path, id="the-id")
        wait_for(path)
        self.child.interrupt(seq)
        return self.child.outcome(seq)

    def test_plain_functions(self):
        outcome = self.softly("proj.spins")
        self.assertEqual((outcome.end, outcome.conclusion["exception"]), ("failed", "SoftTimeLimitExceeded()"))
        expected = {"exc_type": "SoftTimeLimitExceeded", "exc_message": [], "exc_module": "billiard.exceptions"}
        self.assertEqual(outcome.meta["result"], expected)
        self.assertEqual(self.softly("proj.catches").meta["result"], "caught")

    def test_coroutines_are_interrupted_where_they_wait(self):
        self.assertEqual(self.softly("proj.sleeps").meta["result"], "caught by the-id")
        self.assertEqual(self.softly("proj.gathers").conclusion["exception"], "SoftTimeLimitExceeded()")

    def test_coroutines_that_block_are_interrupted_too(self):
        self.assertEqual(self.softly("proj.spins_within").conclusion["exception"], "SoftTimeLimitExceeded()")

    def test_a_limit_that_comes_late_hits_nobody(self):
        payload = run("proj.add", 1, 1)
        for _ in range(300):
            self.child.seq += 1
            self.child.send(RUN, self.child.seq, payload)
            self.child.interrupt(self.child.seq - 1)
            outcome = self.child.outcome(self.child.seq)
            self.assertEqual(outcome.end, "succeeded")

    def test_a_handler_that_a_task_has_put_in_its_place_is_put_back(self):
        self.child.run("proj.changes_signals")
        self.assertEqual(self.softly("proj.spins").end, "failed")

    def test_coroutines_are_functions_to_each_other(self):
        self.assertEqual(self.child.run("proj.calls", 3).meta["result"], 12)
        self.assertEqual(self.child.run("proj.applies", 3).meta["result"], 6)

    def test_coroutines_are_retried(self):
        self.assertEqual(self.child.run("proj.flaky").end, "retried")

    def test_a_coroutine_that_cancels_itself_fails(self):
        self.assertEqual(self.child.run("proj.cancels_itself").end, "failed")
        self.assertEqual(self.child.run("proj.add", 1, 1).end, "succeeded")


class Harm(unittest.TestCase):
    """The worker learns what became of the call, and nothing false."""

    def setUp(self):
        self.server = served({"proj.py": APP})
        self.addCleanup(self.server.__exit__)
        self.child = self.server.fork()

    def test_forks_come_back_silently(self):
        outcome = self.child.run("proj.forks")
        self.assertEqual(outcome.meta["result"], "child")
        self.assertTrue(self.child.has_said_nothing())
        self.assertEqual(self.child.run("proj.add", 1, 1).end, "succeeded")

    def test_closed_stdio_recycles_the_child(self):
        outcome = self.child.run("proj.closes_stdio")
        self.assertEqual((outcome.end, outcome.conclusion["recycle"]), ("succeeded", True))
        self.assertEqual(self.server.exited()["status"], 0)

    def test_closed_channel_ends_the_child(self):
        seq = self.child.start("proj.closes_all")
        self.assertEqual(self.server.exited()["status"], 1)
        self.assertEqual(self.child.next()[:2], ("started", seq))
        with self.assertRaises(EOFError):
            self.child.next()

    def test_junk_on_the_channel_is_no_record(self):
        self.child.start("proj.writes_everywhere")
        self.assertEqual(self.child.next()[0], "started")
        with self.assertRaises(Exception):
            while self.child.next()[0] != "done":
                pass

    def test_exit_past_everything(self):
        self.child.start("proj.exits", 0)
        self.assertEqual(self.server.exited()["status"], 0)

    def test_much_output(self):
        self.assertEqual(self.child.run("proj.prints", 20_000).end, "succeeded")
        self.assertTrue("WARNING/ForkPoolWorker-1] line 19999" in self.server.said())

    def test_terminated_task_runs_its_finally_and_tells_nothing(self):
        path = os.path.join(self.server.folder.name, "told")
        self.child.start("proj.finishes", path)
        wait_for(path)
        os.kill(self.child.pid, signal.SIGTERM)
        self.assertEqual(self.server.exited()["status"], 15)
        with open(path) as file:
            self.assertEqual(file.read(), "sf")
        self.assertEqual(self.child.next()[0], "started")
        with self.assertRaises(EOFError):
            self.child.next()

    def test_idle_child_is_terminated(self):
        os.kill(self.child.pid, signal.SIGTERM)
        self.assertEqual(self.server.exited()["status"], 15)

    def test_killed_child_is_told_with_its_signal_and_replaced(self):
        os.kill(self.child.pid, signal.SIGKILL)
        self.assertEqual(self.server.exited()["status"], -9)
        self.assertEqual(self.server.fork(2).run("proj.add", 1, 1).end, "succeeded")

    def test_unread_packets_can_be_taken_back(self):
        path = os.path.join(self.server.folder.name, "told")
        self.child.start("proj.catches", path)
        wait_for(path)
        second = self.child.start("proj.add", 1, 1)
        os.kill(self.child.pid, signal.SIGKILL)
        self.server.exited()
        packet = self.child.far.recv(1 << 17)
        self.assertEqual(int.from_bytes(packet[1:9], "little"), second)

    def test_a_process_of_its_own_group(self):
        self.assertEqual(os.getpgid(self.child.pid), self.child.pid)
        self.child.send(LEAVE)
        self.server.exited()


def wait_for(path):
    """Waits until a task has told of itself."""
    end = time.monotonic() + 30
    while not os.path.exists(path) or not os.path.getsize(path):
        if time.monotonic() > end:
            raise AssertionError("the task has not begun")
        time.sleep(0.005)


if __name__ == "__main__":
    unittest.main()
