"""Dramatiq: an actor, and a producer when run as a program."""

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from ledger import PORT, note, produce

dramatiq.set_broker(RedisBroker(port=PORT))


@dramatiq.actor
def record(number):
    note("done", number)


if __name__ == "__main__":
    produce(record.send, 0.1)
