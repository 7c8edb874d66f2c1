"""Apps are found by Celery's rules, and what stands in their way is named."""

import unittest

from harness import Server, served

APP = """
    from celery import Celery

    app = Celery("proj", broker="redis://user:secret@host:7/3", backend="redis://host:7/4")

    @app.task(rate_limit="10/m", acks_late=True, time_limit=30, soft_time_limit=20)
    def add(x, y):
        return x + y

    @app.task
    async def wait():
        pass
    """


def failed(modules, app="proj", environment=None, **fields):
    """What is told of an app that cannot be imported."""
    with Server(modules, environment) as server:
        answer = server.importing(app, **fields)
        server.process.wait(30)
        return answer["failed"]


class Finding(unittest.TestCase):
    """`-A` means what it means to `celery`."""

    def test_an_app_is_found_by_module_attribute_package_and_factory(self):
        plain = APP.replace("app =", "app = celery_app =")
        extension = APP + "\n    class flask:\n        extensions = {'celery': app}\n"
        for name, modules in {
            "proj": {"proj.py": plain},
            "proj:celery_app": {"proj.py": plain},
            "proj.celery_app": {"proj.py": plain},
            "proj.celery": {"proj/__init__.py": "", "proj/celery.py": APP},
            "proj:make": {"proj.py": APP + "\n    def make():\n        return app\n"},
            "proj:flask": {"proj.py": extension},
        }.items():
            with self.subTest(name), Server(modules) as server:
                report = server.importing(name)["report"]
                self.assertIn("add", " ".join(task["name"] for task in report["tasks"]))

    def test_package_is_searched_for_its_celery_module(self):
        with Server({"proj/__init__.py": "", "proj/celery.py": APP}) as server:
            self.assertIn("report", server.importing("proj"))

    def test_workdir_and_arguments_are_the_apps(self):
        source = APP + "\n    import sys\n    assert sys.argv == ['celery', 'worker'], sys.argv\n"
        with Server({"inner/proj.py": source}) as server:
            answer = server.importing("proj", workdir="inner", argv=["celery", "worker"])
            self.assertIn("report", answer)

    def test_modules_of_the_working_directory_do_not_hide_the_library(self):
        with Server({"proj.py": APP, "json.py": "raise RuntimeError", "socket.py": "raise RuntimeError"}) as server:
            self.assertIn("report", server.importing("proj"))


class Failing(unittest.TestCase):
    """A traceback as Python has it, and one line of advice."""

    def test_no_celery(self):
        blocked = {"sitecustomize.py": "import sys\nsys.modules['celery'] = None\n", "proj.py": APP}
        with Server(blocked, {"PYTHONPATH": "."}) as server:
            # `None` there is no module that is missing, so the name is taken from the folder.
            answer = server.importing("proj")["failed"]
        self.assertEqual(answer["why"], "no_celery")
        self.assertIn("--python", answer["advice"])

    def test_module_that_is_not_there(self):
        told = failed({}, "nowhere")
        self.assertEqual(told["why"], "import")
        self.assertIn("no module `nowhere`", told["advice"])
        self.assertIn("ModuleNotFoundError: No module named 'nowhere'", told["traceback"])

    def test_module_that_the_app_imports_and_nobody_has(self):
        told = failed({"proj.py": "import not_there\n"})
        self.assertEqual(told["why"], "import")
        self.assertIn("`not_there`", told["advice"])
        self.assertIn('proj.py", line 1', told["traceback"])
        self.assertNotIn("celeriac", told["traceback"])

    def test_error_while_importing(self):
        told = failed({"proj.py": "1 / 0\n"})
        self.assertEqual(told["why"], "import")
        self.assertTrue(told["traceback"].endswith("ZeroDivisionError: division by zero\n"), told["traceback"])

    def test_circular_import(self):
        told = failed({"proj.py": "from other import x\napp = 1\n", "other.py": "from proj import app\nx = 1\n"})
        self.assertEqual(told["why"], "import")
        self.assertIn("import each other", told["advice"])

    def test_module_without_app(self):
        told = failed({"proj.py": "x = 1\n"})
        self.assertEqual(told["why"], "no_app")
        self.assertIn("-A proj:app", told["advice"])

    def test_something_else_than_an_app(self):
        told = failed({"proj.py": "app = 'shop'\n"})
        self.assertEqual(told["why"], "no_app")

    def test_tasks_that_cannot_be_imported(self):
        told = failed({"proj.py": APP + "\n    app.conf.include = ['proj_tasks']\n"})
        self.assertEqual(told["why"], "import")
        self.assertIn("proj_tasks", told["advice"])

    def test_backend_whose_module_is_not_there(self):
        told = failed({"proj.py": APP + "\n    app.conf.result_backend = 'nowhere:Backend'\n"})
        self.assertEqual(told["why"], "settings")
        self.assertIn("No module named 'nowhere'", told["traceback"])

    def test_queue_that_nobody_has_defined(self):
        source = APP + "\n    app.conf.task_create_missing_queues = False\n"
        told = failed({"proj.py": source}, queues=["nope"])
        self.assertEqual(told["why"], "settings")
        self.assertIn("nope", told["traceback"])


class Refusing(unittest.TestCase):
    """Apps that replace parts of the worker are told so."""

    def assert_refused(self, addition, reason):
        told = failed({"proj.py": APP + addition})
        self.assertEqual(told["why"], "refused", told)
        self.assertIn(reason, told["advice"])

    def test_steps(self):
        step = """
    from celery import bootsteps

    class Alive(bootsteps.StartStopStep):
        pass

    app.steps["worker"].add(Alive)
    """
        self.assert_refused(step, "proj.Alive")

    def test_consumer(self):
        self.assert_refused("\n    app.conf.worker_consumer = 'proj:Mine'\n", "worker_consumer")

    def test_pool(self):
        self.assert_refused("\n    app.conf.worker_pool = 'celery_pool_asyncio:TaskPool'\n", "worker_pool")

    def test_strategy(self):
        strategy = """
    class Batches(app.Task):
        Strategy = "proj:strategy"

    @app.task(base=Batches)
    def many(requests):
        pass
    """
        self.assert_refused(strategy, "proj.many has a Strategy of its own")


class Reporting(unittest.TestCase):
    """The worker learns what it needs."""

    def test_an_app_is_reported(self):
        with served({"proj.py": APP}) as server:
            report = server.report
        tasks = {task["name"]: task for task in report["tasks"]}
        add = tasks["proj.add"]
        self.assertEqual((add["rate_limit"], add["acks_late"], add["time_limit"]), ("10/m", True, 30))
        self.assertEqual((add["acks_on_failure"], add["is_async"]), (True, False))
        self.assertTrue(tasks["proj.wait"]["is_async"])
        self.assertEqual(report["broker"]["read"], "redis://user:secret@host:7/3")
        self.assertNotIn("secret", report["broker"]["shown"])
        self.assertEqual(report["results"]["class"], "celery.backends.redis:RedisBackend")
        self.assertEqual((report["results"]["url"], report["results"]["expires"]), ("redis://host:7/4", 86400))
        (queue,) = report["queues"]
        self.assertEqual((queue["name"], queue["exchange"]["type"]), ("celery", "direct"))
        self.assertEqual(report["settings"]["worker_prefetch_multiplier"], 4)
        self.assertTrue(report["log"]["is_default"])
        self.assertEqual((report["listening"], report["control"]), ([], []))

    def test_an_app_without_backend(self):
        with served({"proj.py": APP.replace(', backend="redis://host:7/4"', "")}, piped=False) as server:
            self.assertTrue(server.report["results"]["disabled"])

    def test_queues_of_the_command_line_and_of_the_settings(self):
        source = APP + "\n    app.conf.task_queues = None\n    app.conf.task_default_queue = 'usual'\n"
        with served({"proj.py": source}, queues=["b", "a"]) as server:
            self.assertEqual([queue["name"] for queue in server.report["queues"]], ["b", "a"])
            self.assertEqual(server.report["default_queue"], "usual")

    def test_command_line_comes_over_the_settings(self):
        with served({"proj.py": APP}, concurrency=7, options={"prefetch_multiplier": 2, "task_events": True}) as server:
            settings = server.report["settings"]
        self.assertEqual((settings["worker_concurrency"], settings["worker_prefetch_multiplier"]), (7, 2))
        self.assertTrue(settings["worker_send_task_events"])

    def test_handlers_of_the_start_are_called_in_celerys_order(self):
        source = APP + """
    from celery import signals

    def note(name):
        def told(sender=None, instance=None, conf=None, **_):
            print(f"called {name} {type(sender).__name__}", flush=True)
            if name == "celeryd_init":
                conf.worker_prefetch_multiplier = 9
        return told

    for name in ("celeryd_after_setup", "worker_init", "celeryd_init", "task_revoked"):
        getattr(signals, name).connect(note(name), weak=False)
    """
        with served({"proj.py": source}) as server:
            called = [line.split()[1:] for line in server.said().splitlines() if line.startswith("called")]
            self.assertEqual(server.report["settings"]["worker_prefetch_multiplier"], 9)
            self.assertEqual(server.report["listening"], ["task_revoked"])
        self.assertEqual(
            called, [["celeryd_init", "str"], ["worker_init", "Worker"], ["celeryd_after_setup", "str"]]
        )

    def test_logging_of_the_apps_own_is_told(self):
        source = APP + """
    from celery.signals import setup_logging

    @setup_logging.connect
    def mine(**_):
        pass
    """
        with served({"proj.py": source}) as server:
            self.assertFalse(server.report["log"]["is_default"])
            self.assertIn("task_received", server.report["listening"])

    def test_settings_that_do_not_exist_are_warned_of(self):
        with served({"proj.py": APP + "\n    app.conf.task_max_retries = 3\n"}) as server:
            self.assertIn("task_max_retries", " ".join(server.report["warnings"]))


if __name__ == "__main__":
    unittest.main()
