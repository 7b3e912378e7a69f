"""What an application reports: files in APP_DIRECTORY, one line for each piece of work or error."""

import os
import time

DIRECTORY = os.environ["APP_DIRECTORY"]
PORT = int(os.environ["REDIS_PORT"])
NAME = os.environ["APP_NAME"]
FIRST = int(os.environ.get("FIRST_NUMBER", 0))
# After which number to stop; and whether to add work in every way that the library has: at once, later, once more.
LAST = int(os.environ.get("LAST_NUMBER", 1 << 62))
VARIED = bool(os.environ.get("VARIED"))
URL = f"redis://127.0.0.1:{PORT}/0"


def note(file, text):
    with open(os.path.join(DIRECTORY, file), "a") as out:
        out.write(f"{text}\n")


def error(problem):
    note("errors", f"{type(problem).__name__}: {problem}".replace("\n", " "))


def stopping():
    return os.path.exists(os.path.join(DIRECTORY, "stop"))


def produce(add, pause):
    """Adds a number every `pause` seconds until a signal stops it or the numbers end; stays until it is ended."""
    number = FIRST
    while True:
        if not stopping() and number < LAST:
            number += 1
            try:
                add(number)
                note("accepted", number)
            except Exception as problem:
                error(problem)
        time.sleep(pause)
