// What an application reports: files in APP_DIRECTORY, one line for each piece of work or error.
const fs = require('node:fs');
const path = require('node:path');

const file = (name) => path.join(process.env.APP_DIRECTORY, name);
exports.port = Number(process.env.REDIS_PORT);
exports.name = process.env.APP_NAME;
exports.first = Number(process.env.FIRST_NUMBER ?? 0);
// After which number to stop; and whether to add work in every way that the library has: at once, later, once more.
exports.last = Number(process.env.LAST_NUMBER ?? Infinity);
exports.varied = Boolean(process.env.VARIED);
exports.note = (name, text) => fs.appendFileSync(file(name), `${text}\n`);
exports.error = (problem) => exports.note('errors', String(problem).replaceAll('\n', ' '));
exports.stopping = () => fs.existsSync(file('stop'));
exports.sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// Starts `add(number)` every so many milliseconds, without waiting for the one before.
exports.produce = async (add, milliseconds) => {
  for (let number = exports.first; ; await exports.sleep(milliseconds)) {
    if (exports.stopping() || number === exports.last) continue;
    number += 1;
    const mine = number;
    add(mine).then(() => exports.note('accepted', mine), exports.error);
  }
};
