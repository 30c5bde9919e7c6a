"""Real servers of gs:// and s3://, as processes of their own, that can be told to fail.

The servers are gcp-storage-emulator and moto, each in a thin wrapper. The first lacks preconditions and takes an upload
that breaks off for a whole one: its wrapper mends both. Both answer one request at a time, so that a condition and its
write are one step, as they are at Google and Amazon.

    POST /faults   [{"methods": ["POST"], "status": 503, "after": true}, ...]   one for each of the next such requests
    GET  /log      ["POST /upload/storage/v1/b/results/o", ...] since the last POST /faults

A fault `after` carries the request out and then loses the answer; status 0 drops the connection without one.
By hand: `python -m tests.object_stores gs`, which prints its address and ends with its standard input.
"""

import atexit
import json
import socket
import subprocess
import sys
import threading
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from http import HTTPStatus
from http.server import HTTPServer
from typing import Any

import pytest

from interp.paths import REPOSITORY
from interp.stores import Retries, Store, open_store

BUCKET, FORBIDDEN = "results", "forbidden"
QUICK = Retries(attempts=4, first_seconds=0.01)
KINDS = ("folder", "gs", "s3")

Fault = Mapping[str, Any]


# --- What tests use ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """An empty destination of one kind."""

    kind: str
    url: str

    def open(self, retries: Retries = QUICK) -> Store:
        return open_store(self.url, retries)

    def other_bucket(self, bucket: str) -> Store:
        return open_store(self.url.replace(BUCKET, bucket, 1), QUICK)

    def fail(self, *faults: Fault) -> None:
        """What the next requests meet; with no arguments: nothing more. Empties the log."""
        _ask(server(self.kind), "/faults", json.dumps(faults).encode())

    def log(self) -> list[str]:
        """The requests since the last `fail`."""
        requests: list[str] = json.loads(_ask(server(self.kind), "/log"))
        return requests


def fault(status: int, *methods: str, after: bool = False) -> Fault:
    return {"status": status, "methods": methods, "after": after}


def new_place(kind: str, folder: object, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A place of its own for one test, whose environment says where the servers are."""
    if kind == "folder":
        return Place(kind, f"{folder}/{BUCKET}")
    set_environment(kind, server(kind), monkeypatch)
    place = Place(kind, f"{kind}://{BUCKET}/{uuid.uuid4().hex[:12]}")
    place.fail()
    return place


def set_environment(kind: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"gs": "STORAGE_EMULATOR_HOST", "s3": "AWS_ENDPOINT_URL"}
    settings = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing-secret-9", "AWS_REGION": "us-east-1"}
    for name, value in {**settings, "AWS_EC2_METADATA_DISABLED": "true", names[kind]: address}.items():
        monkeypatch.setenv(name, value)


@cache
def server(kind: str) -> str:
    """The address of this test process's server, started when first asked for; it ends with this process."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.object_stores", kind]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    atexit.register(_end, process)
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert address.startswith("http://"), f"the {kind} server did not start"
    return address


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


def _ask(address: str, path: str, data: bytes | None = None) -> bytes:
    with urllib.request.urlopen(address + path, data, timeout=20) as answer:
        content: bytes = answer.read()
        return content


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


# --- The servers ------------------------------------------------------------------------------------------------------


@dataclass
class Faults:
    """What is still to go wrong, and what was asked."""

    waiting: list[Fault] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def next(self, method: str, path: str) -> Fault | None:
        if (
            path.startswith("/storage/v1/b/") and path.count("/") == 4
        ):  # the library's own statistics, on a thread of its own, at any time
            return None
        self.log.append(f"{method} {path}")
        if f"/{FORBIDDEN}" in path:
            return fault(403, method)
        for at, waiting in enumerate(self.waiting):
            if method in waiting["methods"]:
                return self.waiting.pop(at)
        return None

    def control(self, method: str, body: bytes) -> bytes:
        if method == "POST":
            self.waiting, self.log = json.loads(body), []
        return json.dumps(self.log).encode()


class PreconditionFailed(Exception):
    """An object's generation is not the one that the request names."""


class Dropped(Exception):
    """The connection is to end without an answer."""


class BacklogServer(HTTPServer):
    """Takes many callers at once, and answers one at a time."""

    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing about connections that were dropped."""


def serve_gs(faults: Faults) -> HTTPServer:
    """gcp-storage-emulator with preconditions, whole uploads only, and faults."""
    from gcp_storage_emulator import server as emulator
    from gcp_storage_emulator.storage import Storage

    read_raw_data = emulator._read_raw_data

    def read_whole(handler: Any) -> Any:
        data, expected = read_raw_data(handler), handler.headers.get("Content-Length")
        if expected and len(data) < int(expected):
            raise Dropped
        return data

    emulator._read_raw_data = read_whole
    storage = _conditional(Storage)(use_memory_fs=True)
    emulator.buckets.create_bucket(BUCKET, storage)
    control = (r"^/(faults|log)$", {method: partial(_gs_control, faults) for method in ("GET", "POST")})
    wrapped = [
        (route, {method: partial(_gs_handler, faults, handler) for method, handler in handlers.items()})
        for route, handlers in emulator.HANDLERS
    ]
    emulator.HANDLERS = (control, *wrapped)
    return BacklogServer(("127.0.0.1", 0), partial(emulator.RequestHandler, storage))


_conditions: dict[str, str] = {}
"""Those of the request in hand; there is only one at a time."""


def _conditional(storage: Any) -> Any:
    class ConditionalStorage(storage):  # type: ignore[misc]
        def create_file(self, bucket: str, name: str, *rest: Any) -> None:
            there = self.objects.get(bucket, {}).get(name)
            generation = str(there["generation"]) if there else "0"
            if _conditions.get("ifGenerationMatch", generation) != generation:
                raise PreconditionFailed
            super().create_file(bucket, name, *rest)

    return ConditionalStorage


def _gs_control(faults: Faults, request: Any, response: Any, storage: object) -> None:
    body = json.dumps(request.data).encode() if isinstance(request.data, list) else request.data
    response.write_file(faults.control(request.method, body or b""))


def _gs_handler(faults: Faults, handler: Callable[..., None], request: Any, response: Any, storage: object) -> None:
    """Serve one request, or fail it; a refused condition is HTTP 412."""
    failing = faults.next(request.method, request.path)
    _ = request.data  # a server that fails has read the request
    if failing is None or failing["after"]:
        _conditions.clear()
        _conditions.update({name: values[0] for name, values in request.query.items() if name.startswith("if")})
        try:
            handler(request, response, storage)
        except PreconditionFailed:
            failing = failing or fault(412)
    if failing is None:
        return
    if not failing["status"]:
        raise Dropped
    response.status = HTTPStatus(failing["status"])
    response.json({"error": {"code": failing["status"], "message": "as the test wants it", "errors": []}})


def serve_s3(faults: Faults) -> Any:
    """moto, with faults."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    moto = DomainDispatcherApplication(create_backend_app)
    one_at_a_time = threading.Lock()

    def application(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if path in ("/faults", "/log"):
            start("200 OK", [("Content-Type", "application/json")])
            return [faults.control(method, environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))]
        with one_at_a_time:
            return _s3_answer(faults.next(method, path), moto, environ, start)

    return make_server("127.0.0.1", 0, application, threaded=True)


def _s3_answer(
    failing: Fault | None, moto: Callable[..., Iterable[bytes]], environ: dict[str, Any], start: Callable[..., Any]
) -> Iterable[bytes]:
    if failing is None:
        return list(moto(environ, start))
    if failing["after"]:
        list(moto(environ, lambda *_: None))
    if not failing["status"]:
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    code = {403: "AccessDenied", 409: "ConditionalRequestConflict", 500: "InternalError"}.get(failing["status"])
    start(f"{failing['status'] or 500} Failed", [("Content-Type", "application/xml")])
    return [f"<Error><Code>{code or 'SlowDown'}</Code><Message>as the test wants it</Message></Error>".encode()]


@contextmanager
def _until_the_caller_ends(httpd: Any) -> Iterator[None]:
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield
    sys.stdin.read()


def main(kind: str) -> None:
    httpd = serve_gs(Faults()) if kind == "gs" else serve_s3(Faults())
    address = f"http://127.0.0.1:{httpd.server_address[1]}"
    with _until_the_caller_ends(httpd), suppress(BrokenPipeError):
        if kind == "s3":
            urllib.request.urlopen(urllib.request.Request(f"{address}/{BUCKET}", method="PUT"), timeout=20).close()
        print(address, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
