"""A Flask app made by a factory, as Flask's documentation shows it."""
import os

from celery import Celery, Task, shared_task
from flask import Flask, current_app


def celery_init_app(flask_app):
    class FlaskTask(Task):
        def __call__(self, *args, **kwargs):
            with flask_app.app_context():
                return self.run(*args, **kwargs)

    celery_app = Celery(flask_app.name, task_cls=FlaskTask)
    celery_app.config_from_object(flask_app.config["CELERY"])
    celery_app.set_default()
    flask_app.extensions["celery"] = celery_app
    return celery_app


def create_app():
    flask_app = Flask("shop")
    flask_app.config.from_mapping(
        CURRENCY="EUR",
        CELERY={
            "broker_url": os.environ["BROKER"],
            "broker_transport_options": {"global_keyprefix": os.environ["PREFIX"]},
            "result_backend": os.environ["BACKEND"],
            "task_default_queue": os.environ["QUEUE"],
            "task_ignore_result": False,
        },
    )
    celery_init_app(flask_app)
    return flask_app


@shared_task(name="shop.price")
def price(amount):
    return f"{amount} {current_app.config['CURRENCY']}"
