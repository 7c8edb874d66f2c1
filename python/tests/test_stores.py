"""Results over real stores: what the child writes itself, and what it leaves to the worker."""

import json
import os
import unittest
import uuid

from harness import served

REDIS = os.environ.get("CELERIAC_TEST_REDIS")

APP = """
    from celery import Celery

    app = Celery("proj", broker="memory://", backend="BACKEND")
    app.conf.result_backend_transport_options = {"global_keyprefix": "PREFIX"}

    @app.task
    def add(x, y):
        return x + y

    @app.task
    def fails():
        raise ValueError("boom")

    @app.task(bind=True)
    def tries(self):
        raise self.retry(countdown=60)

    @app.task
    def total(numbers):
        return sum(numbers)

    @app.task
    def reads(id):
        return app.AsyncResult(id).state

    @app.task
    def size(group):
        from kombu.utils.encoding import bytes_to_str
        client = app.backend.client
        return sorted(bytes_to_str(key).rpartition(".")[2] for key in client.keys(f"*{group}*"))
    """


def source(backend):
    return APP.replace("BACKEND", backend).replace("PREFIX", uuid.uuid4().hex)


@unittest.skipUnless(REDIS, "CELERIAC_TEST_REDIS says of no Redis")
class Redis(unittest.TestCase):
    """Results go through the channel, parts of chords to Redis."""

    def setUp(self):
        self.source = source(REDIS)
        self.server = served({"proj.py": self.source})
        self.addCleanup(self.server.__exit__)
        self.child = self.server.fork()

    def test_what_another_process_has_stored_since_is_seen(self):
        self.assertEqual(self.child.run("proj.tries", id="six").states, ["RETRY"])
        with served({"proj.py": self.source}, piped=False) as server:
            other = server.fork()
            self.assertEqual(self.child.run("proj.reads", "six").meta["result"], "PENDING")
            other.run("proj.add", 1, 1, id="six")
        self.assertEqual(self.child.run("proj.reads", "six").meta["result"], "SUCCESS")

    def part(self, task, index, *args):
        body = {"task": "proj.total", "args": [], "kwargs": {}, "options": {"task_id": "the-body"}, "subtask_type": None}
        chord = {**body, "immutable": False, "chord_size": 2}
        return self.child.run(task, *args, group="the-group", group_index=index, embed={"chord": chord}, id=f"part-{index}")

    def test_results_go_through_the_channel_and_are_remembered(self):
        self.assertEqual(self.child.run("proj.add", 1, 1, id="one").states, ["SUCCESS"])
        self.assertEqual(self.child.run("proj.reads", "one").meta["result"], "SUCCESS")
        self.assertEqual(self.child.run("proj.reads", "another").meta["result"], "PENDING")

    def test_parts_of_a_chord_are_stored_and_counted_before_their_calls_end(self):
        self.assertEqual(self.part("proj.add", 0, 1, 1).states, [])
        self.assertEqual(self.child.run("proj.reads", "part-0").meta["result"], "SUCCESS")
        self.assertIn("j", self.child.run("proj.size", "the-group").meta["result"])

    def test_the_failed_part_of_a_chord_fails_its_body(self):
        self.part("proj.add", 0, 1, 1)
        self.assertEqual(self.part("proj.fails", 1).end, "failed")

    def test_without_the_channel_the_child_stores_itself(self):
        with served({"proj.py": source(REDIS)}, piped=False) as server:
            child = server.fork()
            self.assertEqual(child.run("proj.add", 1, 1, id="two").states, [])
            self.assertEqual(child.run("proj.reads", "two").states, [])


class Messages(unittest.TestCase):
    """The rpc backend: results are messages to whoever waits."""

    def test_results_name_their_reader(self):
        with served({"proj.py": source("rpc://")}) as server:
            outcome = server.fork().run("proj.add", 1, 1, id="three")
        (head,) = outcome.heads
        self.assertEqual((head["reply_to"], head["correlation_id"]), ("the-reply-queue", "three"))
        self.assertEqual((head["ttl"], outcome.meta["result"]), (None, 2))


class Others(unittest.TestCase):
    """With a backend that the worker has no driver for, the child stores results itself."""

    def test_the_apps_own_backend(self):
        backend = """
            import json
            from celery.backends.base import BaseBackend

            class Files(BaseBackend):
                def _store_result(self, task_id, result, state, traceback=None, request=None, **kwargs):
                    with open("results", "a") as file:
                        print(json.dumps([task_id, result, state]), file=file)
                    return result
            """
        with served({"proj.py": "\n    import mine\n" + source("mine:Files"), "mine.py": backend}) as server:
            self.assertEqual(server.report["results"]["class"], "mine:Files")
            self.assertEqual(server.fork().run("proj.add", 1, 1, id="four").states, [])
            with open(os.path.join(server.folder.name, "results")) as file:
                self.assertEqual(json.loads(file.read()), ["four", 2, "SUCCESS"])

    def test_a_redis_backend_that_stores_in_its_own_way(self):
        backend = """
            from celery.backends.redis import RedisBackend

            class Mine(RedisBackend):
                def _store_result(self, task_id, result, state, *args, **kwargs):
                    print(f"stored {task_id} {result} {state}")
                    return result
            """
        with served({"proj.py": "\n    import mine\n" + source("mine:Mine"), "mine.py": backend}) as server:
            self.assertEqual(server.fork().run("proj.add", 1, 1, id="five").states, [])
            self.assertIn("stored five 2 SUCCESS", server.said())


if __name__ == "__main__":
    unittest.main()
