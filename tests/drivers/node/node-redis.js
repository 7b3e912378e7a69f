// A day in the life of node-redis: usage `node-redis.js PROTOCOL HOST PORT`.
"use strict";
const assert = require("node:assert/strict");
const { createClient } = require("redis");

const [, , protocol, host, port] = process.argv;
const opened = [];

async function connect(options) {
  const client = createClient({
    socket: { host, port: Number(port) },
    RESP: Number(protocol),
    ...options,
  });
  client.on("error", (error) => { throw error; });
  await client.connect();
  opened.push(client);
  return client;
}

async function data(r) {
  assert.equal(await r.ping(), "PONG");
  await r.set("k", "v", { EX: 100 });
  assert.equal(await r.get("k"), "v");
  await r.hSet("h", { a: 1, b: 2 });
  assert.deepEqual({ ...(await r.hGetAll("h")) }, { a: "1", b: "2" });
  await r.zAdd("z", [{ score: 1, value: "a" }, { score: 2.5, value: "b" }]);
  assert.equal(await r.zScore("z", "b"), 2.5);
  assert.deepEqual(await r.mGet(["k", "none"]), ["v", null]);
  const big = "x".repeat(2_000_000);
  await r.set("big", big);
  assert.equal(await r.get("big"), big);
  await assert.rejects(r.incr("k"), /not an integer/);
  assert.equal(await r.eval("return ARGV[1]", { arguments: ["x"] }), "x");
}

async function pipelines(r) {
  const all = await Promise.all([...Array(3000).keys()].map((i) => r.echo(String(i))));
  assert.deepEqual(all, [...Array(3000).keys()].map(String));
  assert.deepEqual(await r.multi().set("t", 1).incr("t").get("t").exec(), ["OK", 2, "2"]);
  await Promise.all([...Array(500).keys()].map((i) => r.set(`p${i}`, i)));
  let found = 0;
  for await (const keys of r.scanIterator({ MATCH: "p*", COUNT: 100 })) found += keys.length;
  assert.ok(found >= 500);
}

async function watches(r) {
  const other = await connect();
  await r.watch("w");
  await other.set("w", 1);
  await assert.rejects(r.multi().incr("w").exec());
  await r.watch("w");
  assert.deepEqual(await r.multi().incr("w").exec(), [2]);
}

async function messages(r) {
  const subscriber = await connect();
  const got = [];
  await new Promise(async (resolve) => {
    await subscriber.subscribe("news", (text) => got.push(text) === 100 && resolve());
    for (let i = 0; i < 100; i++) r.publish("news", String(i));
  });
  assert.deepEqual(got, [...Array(100).keys()].map(String));
  await subscriber.unsubscribe("news");
  assert.equal(String(await subscriber.get("k")), "v");
}

async function blocking(r) {
  const waiting = await connect();
  const pop = waiting.blPop("queue", 30);
  await new Promise((resolve) => setTimeout(resolve, 100));
  await r.rPush("queue", "job");
  assert.equal((await pop).element, "job");
  assert.equal(await waiting.brPop("queue", 0.1), null);
}

async function databases() {
  const clients = [await connect({ database: 1, name: "one" }), await connect({ database: 2 })];
  await Promise.all(clients.map((c, i) => c.set("where", i)));
  assert.deepEqual(await Promise.all(clients.map((c) => c.get("where"))), ["0", "1"]);
  assert.equal(await clients[0].clientGetName(), "one");
}

async function tracking() {
  if (protocol !== "3") return;
  const cached = await connect({ clientSideCache: { ttl: 0, maxEntries: 100 } });
  const other = await connect();
  await other.set("cached", "1");
  assert.equal(await cached.get("cached"), "1");
  await other.set("cached", "2");
  for (let i = 0; i < 6000 && (await cached.get("cached")) !== "2"; i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.equal(await cached.get("cached"), "2");
}

async function main() {
  const r = await connect();
  for (const part of [data, pipelines, watches, messages, blocking, databases, tracking]) await part(r);
  await Promise.all(opened.map((client) => client.close()));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
