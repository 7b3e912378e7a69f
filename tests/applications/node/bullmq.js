// BullMQ: `add` is the producer, `work` the worker.
const { Queue, Worker } = require('bullmq');
const { error, note, port, produce } = require('./ledger');

if (process.argv[2] === 'add') {
  const queue = new Queue('jobs', { connection: { port } });
  queue.on('error', () => {}); // a lost connection
  produce((number) => queue.add('record', { number }), 100);
} else {
  const connection = { port, maxRetriesPerRequest: null };
  const worker = new Worker('jobs', async (job) => note('done', job.data.number), { connection });
  worker.on('error', () => {}); // a lost connection
}
