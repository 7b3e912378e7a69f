// node-redis's help with scripts: usage `node-redis.js PROTOCOL HOST PORT OTHER_PORT SERVER_PORT`. The two ports are
// of applications with the same names, the last one is the server's own.
"use strict";
const assert = require("node:assert/strict");
const { createClient, defineScript } = require("redis");

const [, , protocol, host, ...ports] = process.argv;
const add = defineScript({
  SCRIPT: `local n = redis.call('INCRBY', KEYS[1], ARGV[1])
redis.call('RPUSH', KEYS[1] .. ':log', n)
redis.call('SET', 'last', KEYS[1])
return {n, KEYS[1]}`,
  NUMBER_OF_KEYS: 1,
  parseCommand(parser, key, number) {
    parser.pushKey(key);
    parser.push(String(number));
  },
  transformReply: (reply) => reply,
});
const connect = async (port) => {
  const client = createClient({ socket: { host, port: Number(port) }, RESP: Number(protocol), scripts: { add } });
  client.on("error", (error) => { throw error; });
  await client.connect();
  return client;
};

async function scripts(r, server) {
  assert.deepEqual(await r.add("n", 2), [2, "n"]);
  await server.scriptFlush();
  assert.deepEqual(await r.add("n", 3), [5, "n"]);
  // Within one turn they are one pipeline.
  const replies = await Promise.all([r.set("p", 1), r.add("p", 4), r.get("p"), r.add("p", 4)]);
  assert.deepEqual(replies, ["OK", [5, "p"], "5", [9, "p"]]);
  assert.deepEqual(await r.lRange("n:log", 0, -1), ["2", "5"]);
}

// A transaction of this driver sends the text the first time, and the name for every further call in it.
async function transactions(r, server) {
  for (let round = 0; round < 2; round++) {
    await server.scriptFlush();
    const replies = await r.multi().set("t", 1).add("t", 4).get("t").add("t", 4).exec();
    assert.deepEqual(replies, ["OK", [5, "t"], "5", [9, "t"]]);
  }
}

(async () => {
  const server = await connect(ports.pop());
  const clients = await Promise.all(ports.map(connect));
  for (const client of clients) await scripts(client, server);
  for (const client of clients) await transactions(client, server);
  const kept = await Promise.all(clients.map(async (client) => (await client.keys("*")).sort()));
  assert.deepEqual(kept[0], kept[1]);
  const all = ["one:", "two:"].flatMap((prefix) => kept[0].map((key) => prefix + key));
  assert.deepEqual((await server.keys("*")).sort(), all.sort());
  for (const client of [...clients, server]) client.destroy();
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
