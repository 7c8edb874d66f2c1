# The Python half of a fleet that shares exchanges. What comes before says PREFIX.
from kombu import Exchange, Queue
from kombu.common import Broadcast

world = Exchange("world", type="topic")
prefixed = {"global_keyprefix": PREFIX} if PREFIX else {}
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options=prefixed,
    result_backend_transport_options=prefixed,
    task_queues=(
        Queue("py_news", world, routing_key="news.#"),
        Queue("rust_news", world, routing_key="*.sport"),
        Broadcast("all"),
    ),
)


@app.task(name="py.tell")
def tell(what):
    return "python: " + what


@app.task(name="shared.hear")
def hear(what):
    print("HEARD", what)


def ask(what, **options):
    return app.send_task("rust.tell", [what], **options)
