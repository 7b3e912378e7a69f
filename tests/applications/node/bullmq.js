// BullMQ: `add` is the producer, `work` the worker.
const { FlowProducer, Queue, Worker } = require('bullmq');
const { note, port, produce, varied } = require('./ledger');

const ways = [
  (queue, number) => queue.add('record', { number }),
  (queue, number) => queue.add('record', { number }, { delay: 300 }),
  (queue, number) => queue.add('record', { number }, { priority: 3, removeOnComplete: 5 }),
  (queue, number) => queue.add('record', { number, fails: 1 }, { attempts: 2, backoff: 100 }),
  (queue, number) => queue.addBulk([{ name: 'record', data: { number }, opts: { lifo: true } }]),
  (queue, number, flows) => flows.add({
    name: 'record', queueName: 'jobs', data: { number }, children: [{ name: 'child', queueName: 'jobs', data: {} }],
  }),
];

if (process.argv[2] === 'add') {
  const queue = new Queue('jobs', { connection: { port } });
  const flows = new FlowProducer({ connection: { port } });
  for (const each of [queue, flows]) each.on('error', () => {}); // a lost connection
  produce((number) => ways[varied ? number % ways.length : 0](queue, number, flows), 100);
} else {
  const connection = { port, maxRetriesPerRequest: null };
  const worker = new Worker('jobs', async ({ data, attemptsMade }) => {
    if (attemptsMade < data.fails) throw new Error('once more');
    if (data.number) note('done', data.number);
  }, { connection });
  worker.on('error', () => {}); // a lost connection
}
