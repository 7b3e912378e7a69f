// rate-limiter-flexible with ioredis and node-redis: a limit lets as much pass as it permits, whatever another
// application does under the same names.
const Redis = require('ioredis');
const { createClient } = require('redis');
const { RateLimiterRedis } = require('rate-limiter-flexible');
const { error, first, note, port, produce } = require('./ledger');

const POINTS = 5;
const other = createClient({ url: `redis://127.0.0.1:${port}` });
const clients = [[new Redis({ port }), false], [other, true]];
for (const [client] of clients) client.on('error', () => {}); // a lost connection
const limiters = clients.map(([storeClient, useRedisPackage], way) => new RateLimiterRedis({
  storeClient, useRedisPackage, points: POINTS, duration: 60, blockDuration: 90, keyPrefix: `limit${way}`,
}));

const passes = (limiter, key) => limiter.consume(key).then(() => 1, (problem) => {
  if (problem instanceof Error) throw problem;
  return 0;
});
other.connect().then(() => produce(async (number) => {
  const limiter = limiters[number % 2];
  const key = `client${number - first}`; // the same in each application
  const tries = await Promise.all(Array.from({ length: POINTS + 2 }, () => passes(limiter, key)));
  const passed = tries.reduce((sum, one) => sum + one, 0);
  const { remainingPoints } = await limiter.get(key);
  if (passed !== POINTS || remainingPoints > 0) error(`${key}: ${passed} passed, ${remainingPoints} remain`);
  await limiter.delete(key);
  await limiter.reward(key, 1);
  note('done', number);
}, 100));
