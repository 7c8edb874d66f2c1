"""Sends calls as a view of the project would."""
import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop_site.settings")
import django

django.setup()
from django.core.management import call_command
from django.db import transaction
from shop.models import Order
from shop.tasks import ship
