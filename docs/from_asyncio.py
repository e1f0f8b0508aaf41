"""from_asyncio.py - the left side of the guide for those who know asyncio.

SPDX-License-Identifier: MIT

The guide shows what stands between two comments [name], beside what has the
same name in from_asyncio.c. Both run, and end with the same results.
"""
import asyncio
import contextvars
import signal
import socket
import subprocess
import sys
import tempfile


# [run]
async def main():
    await asyncio.sleep(0.01)
    return 42
# [run]


async def double(x):
    await asyncio.sleep(0)
    return 2 * x


# [task]
async def task():
    child = asyncio.create_task(double(21), name="child")
    return await child
# [task]


# [gather]
async def gather():
    a, b = await asyncio.gather(double(1), double(2))
    return a + b
# [gather]


async def fail():
    await asyncio.sleep(0)
    raise OSError(5, "EIO")


# [gather_all]
async def gather_all():
    a, b = await asyncio.gather(double(1), fail(),
                                return_exceptions=True)
    return a if isinstance(b, OSError) else 0
# [gather_all]


# [wait]
async def wait():
    tasks = {asyncio.create_task(double(1)),
             asyncio.create_task(asyncio.sleep(60))}
    done, pending = await asyncio.wait(
        tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return len(done)
# [wait]


# [as_completed]
async def as_completed():
    order = []
    tasks = [asyncio.create_task(asyncio.sleep(0.03, "slow")),
             asyncio.create_task(asyncio.sleep(0.001, "fast"))]
    for next_one in asyncio.as_completed(tasks):
        order.append(await next_one)
    return order.index("fast")
# [as_completed]


# [group]
async def group():
    async with asyncio.TaskGroup() as group:
        a = group.create_task(double(1))
        b = group.create_task(double(2))
    return a.result() + b.result()
# [group]


# [timeout]
async def timeout():
    try:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(60)
    except TimeoutError:
        return 1
# [timeout]


# [wait_for]
async def wait_for():
    try:
        return await asyncio.wait_for(asyncio.sleep(60), 0.01)
    except TimeoutError:
        return 1
# [wait_for]


# [cancel]
async def sleeper(log):
    try:
        await asyncio.sleep(60)
    finally:
        log.append("cleaned up")


async def cancel():
    log = []
    task = asyncio.create_task(sleeper(log))
    await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return len(log)
# [cancel]


# [shield]
async def shield():
    task = asyncio.current_task()
    task.cancel()
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        task.uncancel()
    return await asyncio.shield(double(4))
# [shield]


# [future]
async def future():
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_later(0.001, future.set_result, 7)
    return await future
# [future]


# [lock]
lock = asyncio.Lock()
balance = 100


async def lock_use():
    global balance
    async with lock:
        before = balance
        await asyncio.sleep(0)
        balance = before - 30
    return balance
# [lock]


# [event]
async def event():
    event = asyncio.Event()
    asyncio.get_running_loop().call_soon(event.set)
    await event.wait()
    return int(event.is_set())
# [event]


# [condition]
async def condition():
    condition, items = asyncio.Condition(), []

    async def put():
        async with condition:
            items.append(9)
            condition.notify()

    asyncio.create_task(put())
    async with condition:
        await condition.wait_for(lambda: items)
        return items.pop()
# [condition]


# [semaphore]
async def semaphore():
    semaphore = asyncio.Semaphore(2)
    async with semaphore:
        return int(not semaphore.locked())
# [semaphore]


# [queue]
async def produce(queue):
    for i in range(1, 11):
        await queue.put(i)
    await queue.put(None)


async def queue():
    queue = asyncio.Queue(maxsize=4)
    producer = asyncio.create_task(produce(queue))
    total = 0
    while (item := await queue.get()) is not None:
        total += item
    await producer
    return total
# [queue]


# [thread]
def blocking(n):
    return sum(range(n))


async def thread():
    return await asyncio.to_thread(blocking, 100)
# [thread]


# [threadsafe]
def other_thread(loop):
    coroutine = double(8)
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result()


async def threadsafe():
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(None, other_thread, loop)
# [threadsafe]


# [context]
request = contextvars.ContextVar("request", default=0)


async def handle():
    return request.get()


async def context():
    request.set(5)
    return await asyncio.create_task(handle())
# [context]


# [server]
async def echo(reader, writer):
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
    writer.close()


async def server():
    server = await asyncio.start_server(echo, "localhost", 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("localhost", port)
    writer.write(b"hello\n")
    line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    server.close()
    return len(line)
# [server]


# [reading]
async def reading(reader):
    head = await reader.readexactly(4)
    line = await reader.readuntil(b"\r\n")
    rest = await reader.read(100)
    return len(head) + len(line) + len(rest)
# [reading]


async def reading_run():
    a, b = socket.socketpair()
    with b:
        b.sendall(b"HEADline\r\nrest")
        b.shutdown(socket.SHUT_WR)
        reader, writer = await asyncio.open_connection(sock=a)
        result = await reading(reader)
        writer.close()
        return result


# [protocol]
class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)

    def connection_lost(self, error):
        pass


async def protocol():
    a, b = socket.socketpair()
    b.setblocking(False)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(Echo, sock=a)
    await loop.sock_sendall(b, b"hello")
    data = await loop.sock_recv(b, 100)
    transport.close()
    b.close()
    return len(data)
# [protocol]


# [datagram]
class Answer(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(data * 2, address)


async def datagram():
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        Answer, local_addr=("127.0.0.1", 0))
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.connect(transport.get_extra_info("sockname"))
        await loop.sock_sendall(client, b"ping")
        data = await loop.sock_recv(client, 100)
    transport.close()
    return len(data)
# [datagram]


# [process]
async def process():
    process = await asyncio.create_subprocess_shell(
        "wc -c", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    output, _ = await process.communicate(b"four")
    return int(output) + process.returncode
# [process]


# [signal]
async def signal_handler():
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, arrived.set)
    signal.raise_signal(signal.SIGUSR1)
    await arrived.wait()
    loop.remove_signal_handler(signal.SIGUSR1)
    return 1
# [signal]


# [names]
async def names():
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo("127.0.0.1", 80,
                                   type=socket.SOCK_STREAM)
    return len(found)
# [names]


# [reader]
async def reader():
    a, b = socket.socketpair()
    with a, b:
        loop = asyncio.get_running_loop()
        readable = loop.create_future()
        loop.add_reader(a, readable.set_result, 1)
        b.send(b"!")
        result = await readable
        loop.remove_reader(a)
        return result
# [reader]


# [sendfile]
async def sendfile(writer, file):
    loop = asyncio.get_running_loop()
    return await loop.sendfile(writer.transport, file)
# [sendfile]


async def sendfile_run():
    a, b = socket.socketpair()
    with b, tempfile.TemporaryFile() as file:
        file.write(b"twelve bytes")
        file.seek(0)
        _, writer = await asyncio.open_connection(sock=a)
        sent = await sendfile(writer, file)
        writer.close()
        return sent


# [loop]
def loop_by_hand():
    loop = asyncio.new_event_loop()
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    loop.close()
    return 1
# [loop]


RESULTS = [
    (main, 42), (task, 42), (gather, 6), (gather_all, 2), (wait, 1),
    (as_completed, 0), (group, 6), (timeout, 1), (wait_for, 1), (cancel, 1),
    (shield, 8), (future, 7), (lock_use, 70), (event, 1), (condition, 9),
    (semaphore, 1), (queue, 55), (thread, 4950), (threadsafe, 16),
    (context, 5), (server, 6), (reading_run, 14), (protocol, 5),
    (datagram, 8), (process, 4), (signal_handler, 1), (names, 1), (reader, 1),
    (sendfile_run, 12),
]

if __name__ == "__main__":
    failures = 0
    for function, expected in RESULTS:
        result = asyncio.run(function())
        if result != expected:
            print(f"{function.__name__}: {result}, not {expected}")
            failures += 1
    if loop_by_hand() != 1:
        failures += 1
    sys.exit(failures > 0)
