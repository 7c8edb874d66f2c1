import os

SECRET_KEY = "for tests"
INSTALLED_APPS = ["django_celery_results", "shop"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["DATABASE"],
        "OPTIONS": {"timeout": 20},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "Asia/Tokyo"

CELERY_BROKER_URL = os.environ["BROKER"]
CELERY_BROKER_TRANSPORT_OPTIONS = {"global_keyprefix": os.environ["PREFIX"]}
CELERY_RESULT_BACKEND = "django-db"
CELERY_TASK_DEFAULT_QUEUE = os.environ["QUEUE"]
CELERY_RESULT_EXTENDED = True
CELERY_TIMEZONE = "Europe/Berlin"
