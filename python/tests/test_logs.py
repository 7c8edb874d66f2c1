"""With `log_format` set to `json`, all lines of the app's logging are JSON objects."""

import json
import unittest

from harness import run, served

APP = """
    import logging
    import sys

    from celery import Celery
    from celery.utils.log import get_task_logger

    app = Celery("proj", broker="memory://", backend="cache+memory://")
    logger = get_task_logger("of the task")

    class Odd:
        def __repr__(self):
            raise RuntimeError

    @app.task
    def told(x):
        cycle = {}
        cycle["self"] = cycle
        print("printed\\nin two lines")
        print("to the error", file=sys.stderr)
        logger.warning("%s of %s", 1, 2, extra={"cart": {"items": [1, 2.5, None]}, "nan": float("nan")})
        logging.getLogger("shop").info("h\\xe9 \\ud800", extra={"odd": Odd(), "cycle": cycle})
        try:
            1 / 0
        except ZeroDivisionError:
            logger.exception("caught")
        return x

    @app.task
    def fails():
        raise ValueError("no")

    @app.task(bind=True)
    def again(self):
        raise self.retry(countdown=60, exc=ValueError("later"))
    """


class JsonLines(unittest.TestCase):
    """One object a line, with what it says of a call in fields."""

    def lines(self, source=APP, **environment):
        """What came to the log of a few calls, by message."""
        with served({"proj.py": source}, log_format="json", environment=environment) as server:
            child = server.fork()
            child.run("proj.told", "secret", id="a")
            child.run("proj.fails", id="b")
            child.run("proj.again", id="c")
            service = server.fork(2, "service")
            service.next()
            service.call("received", run("proj.told", "secret", id="d"))
            self.assertTrue(server.report["log"]["is_default"])
            objects = [json.loads(line) for line in server.said().splitlines()]
        for found in objects:
            self.assertEqual(set(found), {"timestamp", "level", "fields", "target", "process", "pid"})
            self.assertRegex(found["timestamp"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")
        return {found["fields"]["message"]: found for found in objects}

    def one(self, lines, beginning):
        found = [line for message, line in lines.items() if message.startswith(beginning)]
        self.assertEqual(len(found), 1, lines)
        return found[0]

    def test_celerys_own_lines_say_of_a_call_what_they_always_do(self):
        lines = self.lines()
        told = self.one(lines, "Task proj.told[a] succeeded in ")
        self.assertEqual((told["level"], told["target"], told["process"]), ("INFO", "celery.app.trace", "ForkPoolWorker-1"))
        self.assertEqual((told["fields"]["task.id"], told["fields"]["task.name"]), ("a", "proj.told"))
        self.assertEqual(told["fields"]["return_value"], "'secret'")
        self.assertGreater(told["fields"]["runtime"], 0)
        self.assertEqual(set(told["fields"]), {"message", "task.id", "task.name", "return_value", "runtime"})

        failed = self.one(lines, "Task proj.fails[b] raised unexpected: ")
        self.assertEqual((failed["level"], failed["fields"]["exception"]), ("ERROR", "ValueError('no')"))
        self.assertTrue(failed["fields"]["traceback"].endswith("\nValueError: no"), failed)
        self.assertIn("proj.py", failed["fields"]["traceback"])
        again = self.one(lines, "Task proj.again[c] retry: ")
        self.assertEqual(again["fields"]["task.id"], "c")
        self.assertIn("later", again["fields"]["exception"])

    def test_lines_of_a_task_name_its_call(self):
        lines = self.lines()
        for message, target in {
            "printed\nin two lines": "celery.redirected",
            "to the error": "celery.redirected",
            "1 of 2": "of the task",
            "h\xe9 ?": "shop",
            "caught": "of the task",
        }.items():
            line = lines[message]
            fields = line["fields"]
            self.assertEqual((line["target"], fields["task.id"], fields["task.name"]), (target, "a", "proj.told"))
        self.assertEqual(lines["1 of 2"]["fields"]["cart"], {"items": [1, 2.5, None]})
        self.assertEqual(lines["1 of 2"]["fields"]["nan"], "nan")
        self.assertIn("Unrepresentable", lines["h\xe9 ?"]["fields"]["odd"])
        self.assertIn("{...}", json.dumps(lines["h\xe9 ?"]["fields"]["cycle"]))
        self.assertIn("division by zero", lines["caught"]["fields"]["exception"])
        self.assertIn("Traceback", lines["caught"]["fields"]["traceback"])

    def test_arguments_are_in_no_line(self):
        for message, line in self.lines().items():
            if " succeeded in " not in message:
                self.assertNotIn("secret", json.dumps(line))

    def test_the_terminal_says_nothing_about_letters(self):
        lines = self.lines(LC_ALL="C", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
        self.assertIn("h\xe9 ?", lines)


class OwnFormatters(unittest.TestCase):
    """An app that writes its lines in its own way goes on doing so."""

    def test_a_formatter_of_the_app_stays(self):
        source = APP + (
            "\n    from celery.signals import after_setup_logger"
            "\n    @after_setup_logger.connect"
            "\n    def own(logger, **_):"
            "\n        logger.handlers[0].setFormatter(logging.Formatter('own %(message)s'))\n"
        )
        with served({"proj.py": source}, log_format="json") as server:
            server.fork().run("proj.told", 1)
            self.assertIn("own printed\n", server.said())
            self.assertFalse(server.report["log"]["is_default"])


if __name__ == "__main__":
    unittest.main()
