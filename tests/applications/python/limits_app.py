"""limits (of Flask-Limiter and SlowAPI) by each of its strategies, and redis-py's Lock: as much passes as they
allow, whatever another application does under the same names."""

import limits
import redis
from limits.storage import RedisStorage
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter, SlidingWindowCounterRateLimiter

from ledger import FIRST, PORT, URL, note, produce

storage = RedisStorage(URL)
strategies = [kind(storage) for kind in (FixedWindowRateLimiter, MovingWindowRateLimiter,
                                         SlidingWindowCounterRateLimiter)]
client = redis.Redis(port=PORT)
held = client.lock("limits:held", timeout=600)
assert held.acquire(blocking=False), "another application holds the lock"


def add(number):
    turn = number - FIRST  # the same in each application
    passed = [strategies[turn % 3].hit(limits.parse("2/hour"), f"client{turn}") for _ in range(3)]
    if passed != [True, True, False]:
        raise RuntimeError(f"passed: {passed}")
    lock, other = (client.lock(f"limits:lock{turn}", timeout=120) for _ in range(2))
    if not lock.acquire(blocking=False) or other.acquire(blocking=False):
        raise RuntimeError("a lock is held by another, or twice")
    lock.extend(60)
    lock.reacquire()
    lock.release()
    note("done", number)


produce(add, 0.1)
