"""What an application tells of itself: files in APP_DIRECTORY, one line each."""

import os
import time

DIRECTORY = os.environ["APP_DIRECTORY"]
PORT = int(os.environ["REDIS_PORT"])
NAME = os.environ["APP_NAME"]
URL = f"redis://127.0.0.1:{PORT}/0"


def note(file, text):
    with open(os.path.join(DIRECTORY, file), "a") as out:
        out.write(f"{text}\n")


def error(problem):
    note("errors", f"{type(problem).__name__}: {problem}".replace("\n", " "))


def stopping():
    return os.path.exists(os.path.join(DIRECTORY, "stop"))


def produce(add, pause):
    """Adds a number every `pause` seconds until told to stop; stays until it is ended."""
    number = 0
    while True:
        if not stopping():
            number += 1
            try:
                add(number)
                note("accepted", number)
            except Exception as problem:
                error(problem)
        time.sleep(pause)
