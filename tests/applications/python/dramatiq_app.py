"""Dramatiq: an actor, and a producer when run as a program."""

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from ledger import PORT, VARIED, note, produce

dramatiq.set_broker(RedisBroker(port=PORT))


@dramatiq.actor
def record(number):
    note("done", number)


if __name__ == "__main__":
    def add(number):
        record.send_with_options(args=(number,), delay=500 if VARIED and number % 3 == 0 else None)

    produce(add, 0.1)
