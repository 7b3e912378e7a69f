// bee-queue: `add` is the producer, `work` the worker.
const Queue = require('bee-queue');
const { note, port, produce, varied } = require('./ledger');

const works = process.argv[2] === 'work';
const redis = { host: '127.0.0.1', port };
const queue = new Queue('jobs', { redis, isWorker: works, activateDelayedJobs: works, removeOnSuccess: true });
queue.on('error', () => {}); // a lost connection
if (works) {
  const tried = new Set();
  queue.process(async ({ data }) => {
    if (data.fails && !tried.has(data.number)) {
      tried.add(data.number);
      throw new Error('once more');
    }
    note('done', data.number);
  });
} else {
  produce((number) => {
    const way = varied ? number % 3 : 0;
    const job = queue.createJob({ number, fails: way === 2 });
    if (way === 1) job.delayUntil(Date.now() + 300);
    return job.retries(way === 2 ? 1 : 0).save();
  }, 100);
}
