# Ordinary work of a Python program, for the seccomp profiles' tests; with the argument "network"
# also sockets. An assertion fails, or one line says that all of it worked.
import asyncio, concurrent.futures, hashlib, multiprocessing, os, selectors, signal, subprocess
import sys, tempfile, threading, time


def square(n):
    return n * n


def threads():
    results = []
    threads = [threading.Thread(target=lambda n=n: results.append(n)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(results) == 190
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(square, range(4))) == [0, 1, 4, 9]


def processes():
    assert subprocess.check_output(["/bin/echo", "child"]) == b"child\n"
    shell = subprocess.run("cat | tr a-z A-Z", shell=True, input=b"piped", capture_output=True)
    assert shell.stdout == b"PIPED"
    sleeper = subprocess.Popen(["sleep", "100"], start_new_session=True)
    sleeper.terminate()
    assert sleeper.wait(10) == -signal.SIGTERM
    for method in ["fork", "spawn"]:
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(square, range(5)) == [0, 1, 4, 9, 16]
    pid = os.posix_spawn("/bin/true", ["true"], {})
    assert os.waitpid(pid, 0)[1] == 0


def files():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "a")
        with open(path, "w") as file:
            file.write("text" * 10000)
            file.flush()
            os.fsync(file.fileno())
        os.link(path, path + "b")
        os.rename(path + "b", path + "c")
        os.symlink(path, path + "d")
        os.chmod(path, 0o600)
        os.utime(path, (1, 1))
        assert os.stat(path).st_mtime == 1 and os.path.getsize(path + "d") == 40000
        os.mkfifo(path + "e")
        assert sorted(os.listdir(directory)) == ["a", "ac", "ad", "ae"]
        import mmap, sqlite3
        with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
            memory[:4] = b"mmap"
            memory.flush()
        base = sqlite3.connect(path + ".db")
        base.execute("create table t as select 1 as n union select 2")
        assert base.execute("select sum(n) from t").fetchone() == (3,)
        base.close()


def times_and_signals():
    caught = []
    signal.signal(signal.SIGALRM, lambda *_: caught.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    time.sleep(0.1)
    assert caught
    hashlib.sha256(os.urandom(1 << 20)).hexdigest()
    assert os.cpu_count() >= 1 and len(os.sched_getaffinity(0)) >= 1


async def concurrently():
    async def after(n):
        await asyncio.sleep(0.01)
        return n

    assert sum(await asyncio.gather(*map(after, range(10)))) == 45
    child = await asyncio.create_subprocess_exec("echo", "x", stdout=asyncio.subprocess.PIPE)
    assert (await child.communicate())[0] == b"x\n"


async def serve():
    async def answer(reader, writer):
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    for start, connect in [
        (lambda: asyncio.start_server(answer, "127.0.0.1", 8080), lambda: asyncio.open_connection("localhost", 8080)),
        (lambda: asyncio.start_unix_server(answer, "/tmp/socket"), lambda: asyncio.open_unix_connection("/tmp/socket")),
    ]:
        async with await start():
            reader, writer = await connect()
            writer.write(b"line\n")
            assert await reader.readline() == b"line\n"
            writer.close()


def network():
    import http.client, http.server, socket
    asyncio.run(serve())
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        connection = http.client.HTTPConnection(*server.server_address)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        server.shutdown()
    a, b = (socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) for _ in range(2))
    b.bind(("::1", 0))
    a.sendto(b"datagram", b.getsockname())
    assert b.recvfrom(100)[0] == b"datagram"
    with selectors.DefaultSelector() as selector:
        selector.register(b, selectors.EVENT_READ)
        assert selector.select(0) == []


if __name__ == "__main__":
    threads()
    processes()
    files()
    times_and_signals()
    asyncio.run(concurrently())
    if "network" in sys.argv:
        network()
    print("python works")
