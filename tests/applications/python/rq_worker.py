"""RQ's worker, without a process for each job."""

import redis
import rq

from ledger import PORT

rq.SimpleWorker(["default"], connection=redis.Redis(port=PORT)).work(logging_level="WARNING")
