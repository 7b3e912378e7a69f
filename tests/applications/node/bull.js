// Bull: `add` is the producer, `work` the worker.
const Queue = require('bull');
const { note, port, produce, varied } = require('./ledger');

const queue = new Queue('bull-jobs', { redis: { port } });
queue.on('error', () => {}); // a lost connection
const ways = [{}, { delay: 300 }, { priority: 3, removeOnComplete: 5 }, { attempts: 2, backoff: 100 }, { lifo: true }];
if (process.argv[2] === 'add') {
  produce((number) => {
    const way = varied ? number % ways.length : 0;
    return queue.add({ number, fails: way === 3 ? 1 : 0 }, ways[way]);
  }, 100);
} else {
  queue.process(async ({ data, attemptsMade }) => {
    if (attemptsMade < data.fails) throw new Error('once more');
    note('done', data.number);
  });
}
