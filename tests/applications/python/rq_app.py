"""RQ: a job, and a producer when run as a program."""

import redis
import rq

from ledger import PORT, note, produce


def record(number):
    note("done", number)


if __name__ == "__main__":
    queue = rq.Queue(connection=redis.Redis(port=PORT))
    produce(lambda number: queue.enqueue("rq_app.record", number), 0.4)
