// node-redis as it comes: writes a number and reads it again.
const { createClient } = require('redis');
const { error, name, note, port, produce } = require('./ledger');

const client = createClient({ url: `redis://127.0.0.1:${port}` });
client.on('error', () => {}); // a lost connection; the client connects again
client.connect().then(() => produce(async (number) => {
  await client.set(`${name}:${number}`, number);
  if ((await client.get(`${name}:${number}`)) !== String(number)) error('another value came back');
  note('done', number);
}, 10));
