// ioredis as it comes: writes a number and reads it again.
const Redis = require('ioredis');
const { error, name, note, port, produce } = require('./ledger');

const client = new Redis({ port });
client.on('error', () => {}); // a lost connection; the client connects again
produce(async (number) => {
  await client.set(`${name}:${number}`, number);
  if ((await client.get(`${name}:${number}`)) !== String(number)) error('another value came back');
  note('done', number);
}, 10);
