# Python: TLS between two threads, processes that share semaphores and memory, a database, a compiled module in memory.
set -e
cat >/tmp/work.py <<'PY'
import asyncio, ctypes, hashlib, json, multiprocessing, os, socket, sqlite3, ssl, subprocess, tempfile, threading, urllib.request
import http.server

def square(n):
    return n * n

def tls():
    def context(side):
        made = ssl.SSLContext(side)
        made.check_hostname = False
        made.maximum_version = ssl.TLSVersion.TLSv1_2
        made.set_ciphers('AECDH:@SECLEVEL=0')
        return made
    ours, theirs = socket.socketpair()
    def serve():
        with context(ssl.PROTOCOL_TLS_SERVER).wrap_socket(theirs, server_side=True) as server:
            server.sendall(server.recv(100).upper())
    thread = threading.Thread(target=serve)
    thread.start()
    client = context(ssl.PROTOCOL_TLS_CLIENT)
    client.verify_mode = ssl.CERT_NONE
    with client.wrap_socket(ours) as client:
        client.sendall(b'spoken')
        assert client.recv(100) == b'SPOKEN'
    thread.join()

def web():
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with urllib.request.urlopen('http://localhost:%d/' % server.server_port, timeout=9) as answer:
        assert answer.status == 200
    server.shutdown()

if __name__ == '__main__':
    tls()
    web()
    with multiprocessing.Pool(3) as pool:
        assert sum(pool.map(square, range(100))) == 328350
    queue = multiprocessing.get_context('spawn').Queue()
    queue.put('queued')
    assert queue.get(timeout=9) == 'queued'
    with tempfile.TemporaryDirectory() as directory:
        database = sqlite3.connect(os.path.join(directory, 'db'))
        database.execute('pragma journal_mode = wal')
        database.execute('create table t (n int)')
        with database:
            database.executemany('insert into t values (?)', [(n,) for n in range(1000)])
        assert database.execute('select sum(n) from t').fetchone() == (499500,)
    async def both():
        process = await asyncio.create_subprocess_exec('/bin/echo', 'sub', stdout=asyncio.subprocess.PIPE)
        return (await process.communicate())[0]
    assert asyncio.run(both()) == b'sub\n'
    assert ctypes.CDLL(None).getpid() == os.getpid()
PY
cd /tmp
python3 work.py
