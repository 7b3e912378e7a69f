"""Celery: a task, a schedule, and a producer when run as a program."""

import celery

from ledger import URL, VARIED, note, produce

app = celery.Celery("celery_app", broker=URL, backend=URL)
app.conf.broker_connection_retry_on_startup = True
app.conf.beat_schedule = {"tick": {"task": "celery_app.tick", "schedule": 1.0}}


@app.task
def record(number):
    note("done", number)


@app.task
def tick():
    note("ticks", 1)


if __name__ == "__main__":
    def add(number):
        app.send_task("celery_app.record", (number,), countdown=0.5 if VARIED and number % 3 == 0 else None)

    produce(add, 0.1)
