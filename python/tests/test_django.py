"""A Django project: its settings, models, connections and results."""

import importlib.util
import json
import os
import unittest

from harness import served

PROJECT = {
    "proj/__init__.py": "from .celery import app as celery_app\n\n__all__ = ('celery_app',)\n",
    "proj/settings.py": """
        import os
        BASE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        SECRET_KEY = "x"
        INSTALLED_APPS = ["shop", "django_celery_results"]
        DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE + "/db"}}
        USE_TZ = True
        TIME_ZONE = "Europe/Berlin"
        DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
        CELERY_BROKER_URL = "memory://"
        CELERY_RESULT_BACKEND = "django-db"
        CELERY_TASK_TRACK_STARTED = True
        CELERY_WORKER_PREFETCH_MULTIPLIER = 1
        """,
    "proj/celery.py": """
        import os
        from celery import Celery

        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proj.settings")
        app = Celery("proj")
        app.config_from_object("django.conf:settings", namespace="CELERY")
        app.autodiscover_tasks()
        """,
    "shop/__init__.py": "",
    "shop/models.py": """
        from django.db import models

        class Order(models.Model):
            text = models.CharField(max_length=20)
        """,
    "shop/tasks.py": """
        from celery import shared_task
        from django.db import connection, transaction
        from .models import Order

        @shared_task
        def prepare():
            from django.core.management import call_command
            call_command("migrate", run_syncdb=True, verbosity=0)

        @shared_task
        def order(text):
            return Order.objects.create(text=text).pk

        @shared_task
        def count():
            return Order.objects.count()

        @shared_task
        def results():
            from django_celery_results.models import TaskResult
            return sorted(TaskResult.objects.values_list("task_id", "status"))

        @shared_task
        def undone():
            with transaction.atomic():
                Order.objects.create(text="undone")
                raise ValueError("no")

        @shared_task(track_started=False)
        def starts_connected():
            return connection.connection is not None
        """,
}


RESULTS = "SELECT task_id, status, result FROM django_celery_results_taskresult"


@unittest.skipUnless(importlib.util.find_spec("django_celery_results"), "needs Django and django-celery-results")
class Project(unittest.TestCase):
    """Results are in its database, and connections are each call's own."""

    @classmethod
    def setUpClass(cls):
        cls.server = served(PROJECT, piped=True)
        cls.child = cls.server.fork()
        assert cls.child.run("shop.tasks.prepare", id="prepare", ignore_result=True).end == "succeeded", cls.server.said()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def test_it_is_reported(self):
        report = self.server.report
        self.assertIn("shop.tasks.order", [task["name"] for task in report["tasks"]])
        self.assertEqual(report["settings"]["worker_prefetch_multiplier"], 1)
        self.assertEqual(report["log"]["tz"], "Europe/Berlin")
        self.assertIn("django_celery_results", report["results"]["class"])

    def test_results_are_in_the_database(self):
        outcome = self.child.run("shop.tasks.order", "a", id="first")
        self.assertEqual((outcome.end, outcome.states), ("succeeded", []))
        self.child.run("shop.tasks.undone", id="second")
        self.child.run("shop.tasks.results", id="third")
        meta = self.read(RESULTS)
        self.assertEqual(meta["first"][0], "SUCCESS")
        self.assertEqual(meta["second"][0], "FAILURE")
        self.assertNotIn("undone", self.read("SELECT text, id FROM shop_order"))
        self.assertIn(["third", "STARTED"], json.loads(meta["third"][1]))

    def test_connections_are_closed_after_each_call(self):
        self.child.run("shop.tasks.order", "b")
        # Not tracked, for the state of its start would connect it.
        self.child.run("shop.tasks.starts_connected", id="connected")
        self.assertEqual(self.read(RESULTS)["connected"], ("SUCCESS", "false"))

    def test_children_share_no_connection(self):
        other = self.server.fork(2)
        for child in (self.child, other):
            self.assertEqual(child.run("shop.tasks.order", "c").end, "succeeded")

    def read(self, query):
        import sqlite3

        with sqlite3.connect(os.path.join(self.server.folder.name, "db")) as database:
            return {row[0]: row[1:] for row in database.execute(query)}


if __name__ == "__main__":
    unittest.main()
