// ioredis's help with scripts: usage `ioredis.js PROTOCOL HOST PORT OTHER_PORT SERVER_PORT`. The two ports are of
// applications with the same names, the last one is the server's own.
"use strict";
const assert = require("node:assert/strict");
const Redis = require("ioredis");

const [, , , host, ...ports] = process.argv;
const connect = (port, options) => new Redis({ host, port: Number(port), ...options });
const server = connect(ports.pop());
const lua = `local n = redis.call('INCRBY', KEYS[1], ARGV[1])
redis.call('RPUSH', KEYS[1] .. ':log', n)
redis.call('SET', 'last', KEYS[1])
return {n, KEYS[1]}`;

async function commands(r) {
  r.defineCommand("add", { numberOfKeys: 1, lua });
  r.defineCommand("names", { lua: "local names = redis.call('KEYS', '*') table.sort(names) return names" });
  assert.deepEqual(await r.add("n", 2), [2, "n"]);
  await server.script("FLUSH");
  assert.deepEqual(await r.add("n", 3), [5, "n"]);
  assert.deepEqual(await r.names(0), ["last", "n", "n:log"]);
  assert.deepEqual(await r.lrange("n:log", 0, -1), ["2", "5"]);
}

// A connection's first pipeline sends SCRIPT EXISTS for its scripts, and loads what the server lacks.
async function pipelines(port) {
  for (const begin of ["pipeline", "multi"]) {
    await server.script("FLUSH");
    const r = connect(port);
    r.defineCommand("add", { numberOfKeys: 1, lua });
    for (let round = 0; round < 2; round++) {
      const replies = await r[begin]().set("p", 1).add("p", 4).get("p").add("p", 4).exec();
      assert.deepEqual(replies, [[null, "OK"], [null, [5, "p"]], [null, "5"], [null, [9, "p"]]]);
    }
    r.disconnect();
  }
}

// The driver's own prefix comes after respgate's.
async function prefixed(port) {
  const r = connect(port, { keyPrefix: "inner:" });
  r.defineCommand("add", { numberOfKeys: 1, lua });
  assert.deepEqual(await r.add("n", 7), [7, "inner:n"]);
  r.disconnect();
}

(async () => {
  const clients = ports.map((port) => connect(port));
  for (const client of clients) await commands(client);
  for (const port of ports) await pipelines(port);
  for (const port of ports) await prefixed(port);
  const kept = await Promise.all(clients.map(async (client) => (await client.keys("*")).sort()));
  assert.deepEqual(kept[0], kept[1]);
  const all = ["one:", "two:"].flatMap((prefix) => kept[0].map((key) => prefix + key));
  assert.deepEqual((await server.keys("*")).sort(), all.sort());
  for (const client of [...clients, server]) client.disconnect();
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
