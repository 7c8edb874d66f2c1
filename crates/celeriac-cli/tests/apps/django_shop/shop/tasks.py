from celery import shared_task

from .models import Order


@shared_task
def ship(order_id):
    order = Order.objects.get(pk=order_id)
    order.shipped = True
    order.save()
    return order.item
