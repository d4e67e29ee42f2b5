# Node: threads with shared memory, a server and a client, a child process, its compiler's code, files.
set -e
cat >/tmp/work.js <<'JS'
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const assert = require('assert'), crypto = require('crypto'), fs = require('fs'), http = require('http');
const { execFile } = require('child_process');
if (!isMainThread) {
  let sum = 0;
  for (let n = 0; n < 2000000; n++) sum = (sum + n * workerData) % 1000003;
  parentPort.postMessage(sum);
} else {
  const thread = n => new Promise((done, failed) => {
    const worker = new Worker(__filename, { workerData: n });
    worker.on('message', done);
    worker.on('error', failed);
  });
  const get = port => new Promise((done, failed) => http.get({ host: '127.0.0.1', port }, answer => {
    let text = '';
    answer.on('data', part => text += part);
    answer.on('end', () => done(text));
  }).on('error', failed));
  (async () => {
    const sums = await Promise.all([1, 2, 3].map(thread));
    assert.strictEqual(sums.length, 3);
    const server = http.createServer((_, answer) => answer.end('served'));
    await new Promise(done => server.listen(0, '127.0.0.1', done));
    assert.strictEqual(await get(server.address().port), 'served');
    server.close();
    const said = await new Promise((done, failed) => execFile('/bin/echo', ['sub'], (error, out) => error ? failed(error) : done(out)));
    assert.strictEqual(said, 'sub\n');
    const key = await new Promise((done, failed) => crypto.scrypt('a', 'b', 16, (error, key) => error ? failed(error) : done(key)));
    await fs.promises.writeFile('/tmp/key', key);
    assert.strictEqual((await fs.promises.stat('/tmp/key')).size, 16);
  })().catch(error => { console.error(error); process.exit(1); });
}
JS
node /tmp/work.js
