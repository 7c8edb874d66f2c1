"""The Python half: a Celery app as any other, which knows nothing of Rust."""

import os

from celery import Celery

url = os.environ["BROKER"]
app = Celery("both_ways", broker=url, backend=url if url.startswith("redis") else "rpc://")


@app.task(name="python.add")
def add(a, b):
    return a + b


if __name__ == "__main__":
    answer = app.send_task("rust.multiply", (6, 7), queue="rust").get(timeout=30)
    print(f"Python asked Rust: 6 * 7 = {answer}")
