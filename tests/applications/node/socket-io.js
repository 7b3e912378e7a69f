// Two socket.io servers behind one Redis: what one emits reaches the client of the other.
const { createServer } = require('node:http');
const Redis = require('ioredis');
const { Server } = require('socket.io');
const { createAdapter } = require('@socket.io/redis-adapter');
const { io } = require('socket.io-client');
const { first, note, port } = require('./ledger');

const server = () => {
  const http = createServer();
  const publisher = new Redis({ port });
  const subscriber = publisher.duplicate();
  for (const client of [publisher, subscriber]) client.on('error', () => {}); // a lost connection
  const sockets = new Server(http, { adapter: createAdapter(publisher, subscriber) });
  return new Promise((resolve) => {
    http.listen(0, '127.0.0.1', () => resolve([sockets, http.address().port]));
  });
};

Promise.all([server(), server()]).then(([[here], [, there]]) => {
  const client = io(`http://127.0.0.1:${there}`, { transports: ['websocket'] });
  client.on('number', (number) => note('done', number));
  let number = first;
  // A message of publish and subscribe may be lost while the server is away: none is "accepted".
  setInterval(() => here.emit('number', (number += 1)), 50);
});
