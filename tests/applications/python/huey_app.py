"""Huey: a task, and a producer when run as a program."""

from huey import RedisHuey

from ledger import PORT, note, produce

huey = RedisHuey("huey", port=PORT)


@huey.task()
def record(number):
    note("done", number)


if __name__ == "__main__":
    import huey_app

    produce(huey_app.record, 0.1)
