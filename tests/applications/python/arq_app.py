"""arq: a job, its worker's settings, and a producer when run as a program."""

import asyncio

import arq
from arq.connections import RedisSettings
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError, TimeoutError

from ledger import FIRST, LAST, PORT, VARIED, error, note, stopping

SETTINGS = RedisSettings(port=PORT, conn_timeout=60, retry=Retry(ExponentialBackoff(cap=2, base=0.05), 12),
                         retry_on_error=[ConnectionError, TimeoutError])


async def record(_, number):
    note("done", number)


class WorkerSettings:
    functions = [record]
    redis_settings = SETTINGS


async def main():
    pool = await arq.create_pool(SETTINGS)
    number = FIRST
    while True:
        if not stopping() and number < LAST:
            number += 1
            try:
                await pool.enqueue_job("record", number, _defer_by=0.5 if VARIED and number % 3 == 0 else None)
                note("accepted", number)
            except Exception as problem:
                error(problem)
        await asyncio.sleep(0.1)


if __name__ == "__main__":
    asyncio.run(main())
