"""RQ: a job, and a producer when run as a program."""

import redis
import rq

from ledger import PORT, VARIED, note, produce


def record(number):
    note("done", number)


if __name__ == "__main__":
    queue = rq.Queue(connection=redis.Redis(port=PORT))

    def add(number):
        unique = {"unique": True, "job_id": f"job-{number}"} if VARIED and number % 3 == 0 else {}
        queue.enqueue("rq_app.record", number, **unique)

    produce(add, 0.4)
