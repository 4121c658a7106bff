// One Secure Scuttlebutt peer. node ssb.js serve HOST COUNT FOLDER | pull HOST COUNT FOLDER ADDRESS FEED
//
// Decides: how a rival's user would do it: ssb-db2 with EBT replication, signed hash-linked
// messages. `serve` appends COUNT messages, says {"rate"} of that, then {"address", "feed"};
// `pull` connects, says {"rate"} from connecting until the last message is in its database.
// Run in the folder that holds node_modules.
const path = require('path')
const load = require('module').createRequire(path.join(process.cwd(), 'index.js'))
const stack = load('secret-stack')
const keysOf = load('ssb-keys')
const [role, host, count, folder, address, feed] = process.argv.slice(2)
const total = Number(count)
const say = message => console.log(JSON.stringify(message))
const promised = call => new Promise((done, failed) => call((error, value) => (error ? failed(error) : done(value))))

const peer = stack({ caps: { shs: Buffer.alloc(32, 7).toString('base64') } })
  .use(load('ssb-db2')).use(load('ssb-db2/compat/ebt')).use(load('ssb-ebt'))
  .call(null, {
    path: path.join(folder, role),
    keys: keysOf.generate('ed25519'),
    timeout: 1e6,
    timers: { inactivity: -1 },
    ebt: { logging: false },
    connections: {
      incoming: { net: [{ scope: ['device', 'local', 'public'], transform: 'shs', port: 8008, host }] },
      outgoing: { net: [{ transform: 'shs' }] }
    }
  })

async function serve () {
  const text = 'x'.repeat(190)
  const started = Date.now()
  for (let at = 0; at < total; at += 200) {
    const batch = Array.from({ length: Math.min(200, total - at) }, () =>
      promised(done => peer.db.create({ keys: peer.config.keys, content: { type: 'post', text } }, done)))
    await Promise.all(batch)
  }
  await promised(done => peer.db.onDrain(done))
  say({ rate: total / ((Date.now() - started) / 1000) })
  peer.ebt.request(peer.id, true)
  say({ address: `net:${host}:8008~shs:${peer.id.slice(1).replace('.ed25519', '')}`, feed: peer.id })
}

async function pull () {
  peer.ebt.request(peer.id, true)
  peer.ebt.request(feed, true)
  const started = Date.now()
  let got = 0
  peer.db.onMsgAdded(() => {
    if (++got === total) {
      say({ rate: total / ((Date.now() - started) / 1000) })
      process.exit(0)
    }
  })
  await promised(done => peer.connect(address, done))
}

setTimeout(() => { console.error('too slow'); process.exit(2) }, 240e3)
;(role === 'serve' ? serve() : pull()).catch(error => { console.error(error); process.exit(1) })
