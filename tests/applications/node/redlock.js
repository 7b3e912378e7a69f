// redlock: one lock is held all the time, others in turn; no second one can be had under the same name.
const Redis = require('ioredis');
const Redlock = require('redlock');
const { error, first, note, port, produce } = require('./ledger');

const client = new Redis({ port });
client.on('error', () => {}); // a lost connection
const locks = new Redlock([client], { retryCount: 0 });
const refused = (name) => locks.lock(name, 1000).then(() => false, () => true);

locks.lock('held', 600_000).catch((problem) => error(`held by another: ${problem}`));
produce(async (number) => {
  const names = [`printer${number - first}`, `paper${number - first}`]; // the same in each application
  let lock = await locks.lock(names, 120_000);
  if (!(await refused(names[0])) || !(await refused('held'))) error('two hold the same lock');
  lock = await lock.extend(120_000);
  await lock.unlock();
  note('done', number);
}, 200);
