// Ordinary work of a Node program, for the seccomp profiles' tests; with the argument "network"
// also HTTP. An assertion fails, or one line says that all of it worked.
const assert = require('node:assert');
const { execFile, fork, spawn } = require('node:child_process');
const crypto = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { promisify } = require('node:util');
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');
const zlib = require('node:zlib');

function fibonacci(n) {
  return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

async function threads() {
  const answers = await Promise.all([20, 21, 22, 23].map((n) => new Promise((resolve, reject) => {
    const worker = new Worker(__filename, { workerData: n });
    worker.on('message', resolve);
    worker.on('error', reject);
  })));
  assert.deepStrictEqual(answers, [6765, 10946, 17711, 28657]);
}

async function computes() {
  const key = await promisify(crypto.scrypt)('secret', 'salt', 32);
  const cipher = crypto.createCipheriv('aes-256-gcm', key, crypto.randomBytes(12));
  assert.strictEqual(Buffer.concat([cipher.update('text'), cipher.final()]).length, 4);
  const { privateKey, publicKey } = await promisify(crypto.generateKeyPair)('ec', { namedCurve: 'P-256' });
  const signature = crypto.sign('sha256', Buffer.from('text'), privateKey);
  assert(crypto.verify('sha256', Buffer.from('text'), publicKey, signature));
  const text = Buffer.alloc(1 << 20, 'text');
  const packed = await promisify(zlib.gzip)(text);
  assert((await promisify(zlib.gunzip)(packed)).equals(text));
  const module = await WebAssembly.instantiate(Uint8Array.from([0, 97, 115, 109, 1, 0, 0, 0]));
  assert(module.instance);
  let garbage = [];
  for (let n = 0; n < 300; n++) garbage = [garbage.length, new Array(100000).fill(n)];
}

async function files() {
  const dir = await fs.promises.mkdtemp(path.join(os.tmpdir(), 'work'));
  const file = path.join(dir, 'a');
  await fs.promises.writeFile(file, 'text');
  await fs.promises.copyFile(file, `${file}b`);
  await fs.promises.rename(`${file}b`, `${file}c`);
  assert.strictEqual(fs.readFileSync(`${file}c`, 'utf8'), 'text');
  const watcher = fs.watch(dir);
  const seen = new Promise((resolve) => watcher.once('change', resolve));
  await fs.promises.writeFile(file, 'more');
  await seen;
  watcher.close();
  assert.deepStrictEqual((await fs.promises.readdir(dir)).sort(), ['a', 'ac']);
  assert(os.cpus().length >= 1 && os.totalmem() > 0);
  await fs.promises.rm(dir, { recursive: true });
}

async function children() {
  const { stdout } = await promisify(execFile)('/bin/sh', ['-c', 'echo child']);
  assert.strictEqual(stdout, 'child\n');
  const cat = spawn('cat');
  const said = new Promise((resolve) => cat.stdout.once('data', resolve));
  cat.stdin.end('piped');
  assert.strictEqual(String(await said), 'piped');
  const twin = fork(__filename, ['twin']);
  const [message] = await require('node:events').once(twin, 'message');
  assert.strictEqual(message, 55);
}

async function network() {
  const http = require('node:http');
  const { once } = require('node:events');
  const server = http.createServer((request, response) => request.pipe(response)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  await Promise.all(Array.from({ length: 20 }, async () => {
    const reply = await fetch(`http://localhost:${server.address().port}`, { method: 'POST', body: 'echo' });
    assert.strictEqual(await reply.text(), 'echo');
  }));
  server.close();
  server.closeAllConnections();
  const datagrams = require('node:dgram').createSocket('udp4');
  datagrams.bind(0, '127.0.0.1');
  await once(datagrams, 'listening');
  datagrams.send('x', datagrams.address().port, '127.0.0.1');
  await once(datagrams, 'message');
  datagrams.close();
  assert(Object.keys(os.networkInterfaces()).length >= 1);
}

async function main() {
  await threads();
  await computes();
  await files();
  await children();
  if (process.argv[2] === 'network') await network();
  console.log('node works');
}

if (!isMainThread) {
  parentPort.postMessage(fibonacci(workerData));
} else if (process.argv[2] === 'twin') {
  process.send(fibonacci(10), () => process.disconnect());
} else {
  main();
}
