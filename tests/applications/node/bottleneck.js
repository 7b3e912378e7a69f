// Bottleneck with its counters in Redis: as many jobs pass as its limit permits, whatever another application does under the
// same name.
const Bottleneck = require('bottleneck');
const { error, first, last, note, port, produce } = require('./ledger');

const limiter = new Bottleneck({
  id: 'limited', datastore: 'ioredis', clientOptions: { port }, clientTimeout: 120_000, maxConcurrent: 2, reservoir: last - first,
});
limiter.on('error', () => {}); // a lost connection
produce(async (number) => {
  await limiter.schedule({ id: `job${number - first}` }, async () => note('done', number));
  if (number === last && (await limiter.currentReservoir()) > 0) error('another application put into the reservoir');
}, 100);
