// An application on ioredis with its default settings; its rounds are those of app_redis_py.py, without large values.
'use strict'
const fs = require('fs')
const Redis = require('ioredis')

const target = JSON.parse(process.env.FAULTS_TARGET)
const pause = Number(process.env.FAULTS_PAUSE) * 1000
const seconds = () => Number(process.hrtime.bigint()) / 1e9
const report = (kind, name, number, text = '') =>
  fs.writeSync(1, `${kind} ${name} ${number} ${seconds().toFixed(4)} ${text}\n`)

function connect () {
  const options = { host: target.host, port: target.port, username: target.username, password: target.password }
  if (target.tls) {
    const file = name => fs.readFileSync(target.tls[name])
    options.tls = { ca: file('ca'), cert: file('cert'), key: file('key'), servername: target.host }
  }
  const client = new Redis(options)
  client.on('error', () => {}) // what reaches the caller counts
  return client
}

async function step (client, name, number, state) {
  const key = suffix => `${name}:${suffix}`
  const expect = (what, reply, right) => right || report('W', name, number, `${what} ${JSON.stringify(reply).slice(0, 60)}`)
  const length = await client.rpush(key('log'), number)
  expect('RPUSH', length, Number.isInteger(length) && length > state.appended)
  state.appended += 1
  report('A', name, number)
  let reply = await client.set(key('value'), number)
  expect('SET', reply, reply === 'OK')
  reply = await client.get(key('value'))
  if (/^\d+$/.test(reply) && Number(reply) < number) report('L', name, number, `the value is that of ${reply} again`)
  else expect('GET', reply, reply === String(number))
  if (number % 8 === 0) {
    const pipeline = client.pipeline()
    const expected = []
    for (let index = 0; index < 5; index++) {
      pipeline.set(key(index), `${number}.${index}`).get(key(index))
      expected.push('OK', `${number}.${index}`)
    }
    reply = await pipeline.exec()
    const failed = reply.find(([error]) => error)
    if (failed) throw failed[0]
    reply = reply.map(([, value]) => value)
    expect('pipeline', reply, reply.join() === expected.join())
  }
  if (!target.plain && number % 16 === 5) {
    reply = await client.multi().set(key('moved'), number).get(key('moved')).exec()
    expect('EXEC', reply, reply !== null && JSON.stringify(reply) === JSON.stringify([[null, 'OK'], [null, String(number)]]))
  }
}

async function work (name) {
  const client = connect()
  const state = { appended: 0 }
  for (let number = 1; ; number++) {
    try {
      await step(client, name, number, state)
      report('D', name, number)
    } catch (problem) {
      report('E', name, number, String(problem).replace(/\n/g, ' ').slice(0, 120))
    }
    await new Promise(resolve => setTimeout(resolve, pause))
  }
}

for (let worker = 0; worker < Number(process.env.FAULTS_WORKERS); worker++) work(`${target.way}-node${worker}`)
