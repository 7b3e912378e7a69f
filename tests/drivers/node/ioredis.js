// A day in the life of ioredis: usage `ioredis.js PROTOCOL HOST PORT`.
"use strict";
const assert = require("node:assert/strict");
const Redis = require("ioredis");

const [, , , host, port] = process.argv;
const connect = (options) => new Redis({ host, port: Number(port), ...options });

async function data(r) {
  assert.equal(await r.set("k", "v", "EX", 100), "OK");
  assert.equal(await r.get("k"), "v");
  await r.hset("h", { a: 1, b: 2 });
  assert.deepEqual(await r.hgetall("h"), { a: "1", b: "2" });
  await r.zadd("z", 1, "a", 2.5, "b");
  assert.deepEqual(await r.zrange("z", 0, -1, "WITHSCORES"), ["a", "1", "b", "2.5"]);
  assert.deepEqual(await r.mget("k", "none"), ["v", null]);
  const big = "x".repeat(2_000_000);
  await r.set("big", big);
  assert.equal(await r.get("big"), big);
  await assert.rejects(r.incr("k"), /not an integer/);
  r.defineCommand("add", { numberOfKeys: 1, lua: "return redis.call('INCRBY', KEYS[1], ARGV[1])" });
  assert.equal(await r.add("lua", 5), 5);
  assert.equal(await r.add("lua", 5), 10);
}

async function pipelines(r) {
  const pipe = r.pipeline();
  for (let i = 0; i < 2000; i++) pipe.set(`p${i}`, i).get(`p${i}`);
  const replies = await pipe.exec();
  replies.forEach(([error, reply], i) => {
    assert.equal(error, null);
    assert.equal(reply, i % 2 ? String((i - 1) / 2) : "OK");
  });
  const block = await r.multi().set("t", 1).incr("t").lpush("t", "x").get("t").exec();
  assert.equal(block[1][1], 2);
  assert.match(block[2][0].message, /WRONGTYPE/);
  assert.equal(block[3][1], "2");
  const found = new Set();
  for await (const keys of r.scanStream({ match: "p*", count: 300 })) keys.forEach((k) => found.add(k));
  assert.equal(found.size, 2000);
}

async function watches(r) {
  const other = connect();
  await r.watch("w");
  await other.set("w", 1);
  assert.equal(await r.multi().incr("w").exec(), null);
  await r.watch("w");
  assert.deepEqual(await r.multi().incr("w").exec(), [[null, 2]]);
  other.disconnect();
}

async function messages(r) {
  const subscriber = connect();
  const got = [];
  const done = new Promise((resolve) => {
    subscriber.on("message", (channel, text) => got.push(text) === 100 && resolve());
  });
  assert.equal(await subscriber.subscribe("news", "more"), 2);
  for (let i = 0; i < 100; i++) r.publish("news", String(i));
  await done;
  assert.deepEqual(got, [...Array(100).keys()].map(String));
  await subscriber.unsubscribe();
  assert.equal(await subscriber.get("k"), "v");
  await subscriber.quit();
}

async function blocking(r) {
  const waiting = connect();
  const pop = waiting.blpop("queue", 30);
  await new Promise((resolve) => setTimeout(resolve, 100));
  await r.rpush("queue", "job");
  assert.deepEqual(await pop, ["queue", "job"]);
  assert.equal(await waiting.brpop("queue", 0.1), null);
  waiting.disconnect();
}

async function databases() {
  const clients = [1, 2].map((db) => connect({ db, connectionName: `db${db}` }));
  await Promise.all(clients.map((c, i) => c.set("where", i)));
  assert.deepEqual(await Promise.all(clients.map((c) => c.get("where"))), ["0", "1"]);
  assert.equal(await clients[0].client("GETNAME"), "db1");
  clients.forEach((c) => c.disconnect());
}

async function main() {
  const r = connect();
  for (const part of [data, pipelines, watches, messages, blocking, databases]) await part(r);
  await r.quit();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
