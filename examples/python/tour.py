"""Serves the FastAPI example with uvicorn on kolk, lets 200 clients request
it, on kolk too, and says how that went. For each backend.

    python examples/python/tour.py [backend ...]
"""

import asyncio
import os
import pathlib
import socket
import subprocess
import sys
import time

import httpx

import kolk

CLIENTS = 200
ROUNDS = 2  # of all routes, per client
FOLDER = pathlib.Path(__file__).resolve().parent


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def serve(port):
    """uvicorn, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "--app-dir", FOLDER,
         "fastapi_app:app", "--loop", "kolk:new_event_loop", "--port",
         str(port), "--log-level", "warning", "--backlog", "1000"])


async def wait_until_served(client):
    for _ in range(500):
        try:
            return (await client.get("/loop")).json()
        except httpx.TransportError:
            await asyncio.sleep(0.02)
    raise SystemExit("the server does not answer")


def requests_of(number):
    """What client `number` asks for, and what it must get."""
    yield "GET", "/", {}, 200, {"dishes": ["eggs", "toast", "coffee"]}
    yield "GET", "/breakfast", {}, 200, {"breakfast": [
        "eggs: ready", "toast: ready", "coffee: ready"]}
    yield "GET", f"/dishes/{number}", {}, 200, {"number": number}
    yield "GET", "/dishes/1000", {}, 404, {"detail": "there is no such dish"}
    order = {"dish": f"cake {number}", "count": number}
    yield "POST", "/orders", {"json": order}, 200, {
        "ordered": f"cake {number}", "count": number}
    yield "GET", "/oven", {}, 200, {"oven": "hot"}


async def be_a_client(number, url, latencies, errors):
    """A client with a connection of its own, which it keeps."""
    async with httpx.AsyncClient(base_url=url, timeout=60,
                                 verify=False) as client:
        for _ in range(ROUNDS):
            for method, path, body, status, answer in requests_of(number):
                begin = time.perf_counter()
                try:
                    response = await client.request(method, path, **body)
                    if (response.status_code, response.json()) != (status,
                                                                   answer):
                        errors.append(f"{path}: {response.text}")
                except httpx.HTTPError as error:
                    errors.append(f"{path}: {error!r}")
                latencies.append(time.perf_counter() - begin)


async def visit(url):
    """All clients at once. What the server runs on, how long each request
    took, how long all of it, and what went wrong."""
    latencies, errors = [], []
    async with httpx.AsyncClient(base_url=url, verify=False) as client:
        server = await wait_until_served(client)
    begin = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(be_a_client(number, url, latencies, errors))
    took = time.perf_counter() - begin
    return server, sorted(latencies), took, errors


def report(server, latencies, took, errors):
    def at(part):
        index = min(int(len(latencies) * part), len(latencies) - 1)
        return f"{latencies[index] * 1e3:.1f} ms"

    print(f"loop       {server['loop']}, clients' too")
    print(f"backend    {server['backend']} ({server['why']})")
    print(f"requests   {len(latencies)} by {CLIENTS} clients in {took:.2f} s, "
          f"{len(latencies) / took:.0f} a second")
    print(f"errors     {len(errors)}")
    print(f"latency    50 %: {at(0.5)}, 90 %: {at(0.9)}, 99 %: {at(0.99)}, "
          f"longest: {at(1)}")
    for error in errors[:5]:
        print("           ", error)


def tour(backend):
    os.environ["KOLK_BACKEND"] = backend
    port = free_port()
    server = serve(port)
    try:
        found = kolk.run(visit(f"http://127.0.0.1:{port}"))
        report(*found)
        return not found[-1]
    finally:
        server.terminate()
        server.wait(30)


def main():
    backends = sys.argv[1:] or ["epoll", "io_uring"]
    print(f"kolk {kolk.__version__}, Python {sys.version.split()[0]}: "
          f"FastAPI, uvicorn and httpx\n")
    good = True
    for backend in backends:
        good = tour(backend) and good
        print()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
