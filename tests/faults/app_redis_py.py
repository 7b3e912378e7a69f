"""An application on redis-py with its default settings. Its rounds are also those of app_ioredis.js.

Owns: the calls. Never knows: what is broken.
"""

import json
import os
import sys
import threading
import time

import redis

TARGET = json.loads(os.environ["FAULTS_TARGET"])
PAUSE = float(os.environ["FAULTS_PAUSE"])
LARGE = 100 << 10


def connect():
    settings = {key: TARGET[key] for key in ("host", "port", "username", "password") if TARGET.get(key)}
    if tls := TARGET.get("tls"):
        settings |= {"ssl": True, "ssl_ca_certs": tls["ca"], "ssl_certfile": tls["cert"], "ssl_keyfile": tls["key"]}
    # Envoy knows no HELLO 3.
    return redis.Redis(**settings, **({"protocol": 2} if TARGET["plain"] else {}))


def report(kind, name, number, text=""):
    sys.stdout.write(f"{kind} {name} {number} {time.monotonic():.4f} {text}\n")
    sys.stdout.flush()


class Worker(threading.Thread):
    def __init__(self, number):
        super().__init__()
        self.name = f"{TARGET['way']}-py{number}"
        self.client, self.number, self.appended = connect(), 0, 0

    def key(self, suffix):
        return f"{self.name}:{suffix}"

    def expect(self, what, reply, right):
        if not right:
            report("W", self.name, self.number, f"{what} {str(reply)[:60]!r}")

    def step(self):
        number, client = self.number, self.client
        length = client.rpush(self.key("log"), number)
        self.expect("RPUSH", length, isinstance(length, int) and length > self.appended)
        self.appended += 1
        report("A", self.name, number)
        self.expect("SET", reply := client.set(self.key("value"), number), reply is True)
        reply = client.get(self.key("value"))
        if reply and reply.isdigit() and int(reply) < number:
            report("L", self.name, number, f"the value is that of {int(reply)} again")
        else:
            self.expect("GET", reply, reply == str(number).encode())
        if number % 8 == 0:
            self.pipeline(client)
        if number % 32 == 3:
            value = f"{self.name}:{number}:".encode().ljust(LARGE, b".")
            self.expect("SET of 100 KiB", reply := client.set(self.key("large"), value), reply is True)
            self.expect("GET of 100 KiB", reply := client.get(self.key("large")), reply == value)
        if not TARGET["plain"] and number % 16 == 5:
            transaction = client.pipeline()
            transaction.set(self.key("moved"), number).get(self.key("moved"))
            self.expect("EXEC", reply := transaction.execute(), reply == [True, str(number).encode()])
        if not TARGET["plain"] and number % 16 == 9:
            client.lpush(self.key("queue"), number)
            reply = client.brpop([self.key("queue")], timeout=2)
            self.expect("BRPOP", reply, reply is None or reply[0] == self.key("queue").encode()
                        and reply[1].isdigit() and int(reply[1]) <= number)

    def pipeline(self, client):
        pipeline = client.pipeline(transaction=False)
        expected = []
        for index in range(5):
            pipeline.set(self.key(index), f"{self.number}.{index}").get(self.key(index))
            expected += [True, f"{self.number}.{index}".encode()]
        self.expect("pipeline", reply := pipeline.execute(), reply == expected)

    def run(self):
        while True:
            self.number += 1
            try:
                self.step()
                report("D", self.name, self.number)
            except Exception as problem:
                text = f"{type(problem).__name__}: {problem}".replace("\n", " ")
                report("E", self.name, self.number, text[:120])
            time.sleep(PAUSE)


for worker in range(int(os.environ["FAULTS_WORKERS"])):
    Worker(worker).start()
