"""Huey: a task, and a producer when run as a program."""

from huey import RedisHuey

from ledger import PORT, VARIED, note, produce

huey = RedisHuey("huey", port=PORT)


@huey.task()
def record(number):
    note("done", number)


if __name__ == "__main__":
    import huey_app

    def add(number):
        huey_app.record.schedule((number,), delay=1) if VARIED and number % 3 == 0 else huey_app.record(number)

    produce(add, 0.1)
