"""An OpenAI-compatible endpoint on this machine that misbehaves as it is told.

A text that holds `FAULT=name,name,…;` meets these faults in turn, one a request, and is then answered; `name*3` stands
for three, `name*` for ever. Run as a process of its own:

    python -m tests.judge_server --latency 0.01 --capacity 8

which prints its port. `GET /log` says what was asked, `POST /told` changes how it behaves.
"""

import argparse
import asyncio
import json
import re
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from interp.paths import REPOSITORY

KEY = "sk-test-0123456789abcdef"
EXPIRED = "sk-test-expired-0123456789"
_FAULTS = re.compile(r"FAULT=([^;]*);")
_HANG_SECONDS = 60.0


class State:
    """What it was told, and what it has seen."""

    def __init__(self, latency: float, capacity: int) -> None:
        self.latency, self.capacity = latency, capacity
        self.headers: dict[str, str] = {}
        self.without: list[str] = []
        self.polls = 1
        self.seen: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.in_flight, self.most_in_flight = 0, 0
        self.bodies: list[Any] = []
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.polled: Counter[str] = Counter()


def verdict_for(schema: dict[str, Any], text: str) -> dict[str, Any]:
    """A verdict of any schema: true and 90 where the text says YES, else false and 10."""
    yes = "YES" in text
    by_type = {"boolean": yes, "string": "because of its words", "number": 90 if yes else 10}
    verdict = {}
    for name, field in schema["properties"].items():
        kind = field["type"][0] if isinstance(field["type"], list) else field["type"]
        verdict[name] = field["enum"][0] if "enum" in field else by_type[kind]
    return verdict


def completion(content: str | None, finish: str = "stop", refusal: str | None = None) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, "refusal": refusal}
    return {
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "finish_reason": finish, "message": message}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
    }  # fmt: skip


def error(status: int, message: str, headers: dict[str, str] | None = None, **more: Any) -> web.Response:
    return web.json_response({"error": {"message": message, **more}}, status=status, headers=headers)


def good_answer(body: dict[str, Any], text: str) -> dict[str, Any]:
    asked = body.get("response_format") or {}
    if asked.get("type") == "json_schema":
        schema = asked["json_schema"]["schema"]
    else:
        schema = json.loads(body["messages"][0]["content"].rpartition("schema:\n")[2])
    content = json.dumps(verdict_for(schema, text))
    return completion(content if asked else f"```json\n{content}\n```")


def fault_at(text: str, count: int) -> str | None:
    """What the `count`-th request (from 0) for a text meets."""
    found = _FAULTS.search(text)
    for part in found[1].split(",") if found else ():
        name, star, times = part.partition("*")
        number = int(times) if times else 10**9 if star else 1
        if count < number:
            return name
        count -= number
    return None


async def misbehave(request: web.Request, fault: str) -> web.StreamResponse:
    replies: dict[str, Any] = {
        "length": completion('{"reasoning": "because', "length"), "prose": completion("I think that it does."),
        "schema": completion('{"reasoning": 1}'), "empty": completion(""), "refusal": completion(None, refusal="No."),
        "filter": completion(None, "content_filter"), "cut": completion('{"reasoning": "beca'),
        "error200": {"error": {"message": "provider returned an error", "code": 502}, "user_id": "u"},
        "nochoices": {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": None},
    }  # fmt: skip
    errors = {
        "429": error(429, "slow down", code="rate_limit_exceeded"),
        "429after": error(429, "slow down", {"retry-after-ms": "50"}),
        "429long": error(429, "slow down", {"retry-after": "300"}),
        "quota": error(429, "You exceeded your current quota", code="insufficient_quota"),
        "500": error(500, "boom"), "400": error(400, "this text is too long", code="context_length_exceeded"),
        "502": web.Response(text="<html>Bad gateway</html>", status=502, content_type="text/html"),
        "402": error(402, "no credit"), "flagged": error(403, "flagged", metadata={"flagged_input": "…"}),
    }  # fmt: skip
    if fault in replies:
        return web.json_response(replies[fault])
    if fault in errors:
        return errors[fault]
    return await _break_off(request, fault)


async def _break_off(request: web.Request, fault: str) -> web.StreamResponse:
    """Faults below HTTP: hang, drip, reset, truncated."""
    assert request.transport is not None
    if fault == "hang":
        await asyncio.sleep(_HANG_SECONDS)
    if fault == "reset":
        request.transport.abort()
        return web.Response()
    reply = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "500"})
    await reply.prepare(request)
    await reply.write(b'{"id": "c')
    with suppress(ConnectionError):
        while fault == "drip":
            await asyncio.sleep(0.05)
            await reply.write(b" ")
    request.transport.abort()
    return reply


async def chat(request: web.Request) -> web.StreamResponse:
    state: State = request.app[STATE]
    sent = request.headers.get("Authorization", "")
    if sent != f"Bearer {KEY}":
        return error(401, f"Incorrect API key provided: {sent.removeprefix('Bearer ')}", code="invalid_api_key")
    body = await request.json()
    text = body["messages"][-1]["content"]
    count = state.seen[text]
    state.seen[text] += 1
    if len(state.bodies) < 50:
        state.bodies.append({name: value for name, value in body.items() if name != "messages"})
    state.in_flight += 1
    state.most_in_flight = max(state.most_in_flight, state.in_flight)
    try:
        reply = await _reply(request, state, body, text, count)
    finally:
        state.in_flight -= 1
    state.statuses[str(reply.status)] += 1
    return reply


async def _reply(
    request: web.Request, state: State, body: dict[str, Any], text: str, count: int
) -> web.StreamResponse:
    if state.capacity and state.in_flight > state.capacity:
        return error(429, "too many at one time", {"retry-after-ms": "20"})
    for name in state.without:
        if name in body or name in str(body.get("response_format")):
            return error(400, f"Unsupported parameter: '{name}' is not supported here", param=name)
    fault = fault_at(text, count)
    if fault is not None:
        return await misbehave(request, fault)
    await asyncio.sleep(state.latency)
    state.answered[text] += 1
    return web.json_response(good_answer(body, text), headers=state.headers)


# --- The Batch API ----------------------------------------------------------------------------------------------------


async def upload(request: web.Request) -> web.Response:
    state: State = request.app[STATE]
    form = await request.post()
    sent: Any = form["file"]
    name = f"file-{len(state.files)}"
    state.files[name] = sent.file.read()
    return web.json_response(
        {"id": name, "object": "file", "bytes": len(state.files[name]), "created_at": 1, "filename": sent.filename,
         "purpose": "batch", "status": "processed"}
    )  # fmt: skip


async def content(request: web.Request) -> web.Response:
    return web.Response(body=request.app[STATE].files[request.match_info["name"]])


async def create_batch(request: web.Request) -> web.Response:
    state: State = request.app[STATE]
    asked = await request.json()
    name = f"batch-{len(state.batches)}"
    state.batches[name] = {
        "id": name, "object": "batch", "endpoint": asked["endpoint"], "input_file_id": asked["input_file_id"],
        "completion_window": "24h", "status": "validating", "created_at": 1,
    }  # fmt: skip
    return web.json_response(state.batches[name])


async def list_batches(request: web.Request) -> web.Response:
    data = list(request.app[STATE].batches.values())
    return web.json_response({"object": "list", "data": data, "has_more": False})


async def retrieve_batch(request: web.Request) -> web.Response:
    state: State = request.app[STATE]
    name = request.match_info["name"]
    state.polled[name] += 1
    batch = state.batches[name]
    if state.polled[name] >= state.polls and batch["status"] == "validating":
        _complete(state, name, batch)
    return web.json_response(batch)


def _complete(state: State, name: str, batch: dict[str, Any]) -> None:
    """Answers in reverse order; a text with a fault goes to the error file, one with LOST to neither."""
    answers: list[str] = []
    errors: list[str] = []
    for line in state.files[batch["input_file_id"]].split(b"\n")[:-1]:
        row = json.loads(line)
        text = row["body"]["messages"][-1]["content"]
        failed = fault_at(text, state.seen[text]) is not None
        state.seen[text] += 1
        reply = {"error": {"message": "boom"}} if failed else good_answer(row["body"], text)
        response = {"status_code": 500 if failed else 200, "request_id": "r", "body": reply}
        done = json.dumps({"id": "r", "custom_id": row["custom_id"], "response": response, "error": None})
        if "LOST" not in text:
            (errors if failed else answers).append(done)
            state.answered[text] += not failed
    for field, lines in (("output_file_id", answers), ("error_file_id", errors)):
        if lines:
            batch[field] = f"{name}-{field}"
            state.files[batch[field]] = "\n".join(reversed(lines)).encode() + b"\n"
    batch["status"] = "completed"


# --- Telling and asking it --------------------------------------------------------------------------------------------


async def log(request: web.Request) -> web.Response:
    state: State = request.app[STATE]
    return web.json_response(
        {"requests": sum(state.seen.values()), "answered": dict(state.answered), "statuses": dict(state.statuses),
         "most_in_flight": state.most_in_flight, "bodies": state.bodies, "batches": len(state.batches),
         "files": len(state.files)}
    )  # fmt: skip


async def told(request: web.Request) -> web.Response:
    """Change latency, capacity, headers, without or polls; whatever it has counted is forgotten."""
    state: State = request.app[STATE]
    state.__init__(state.latency, state.capacity)  # type: ignore[misc]
    for name, value in (await request.json()).items():
        setattr(state, name, value)
    return web.json_response({})


STATE: web.AppKey[State] = web.AppKey("state", State)


async def serve(latency: float, capacity: int) -> None:
    app = web.Application(client_max_size=300 << 20)
    app[STATE] = State(latency, capacity)
    app.add_routes([
        web.post("/v1/chat/completions", chat), web.post("/v1/files", upload),
        web.get("/v1/files/{name}/content", content), web.post("/v1/batches", create_batch),
        web.get("/v1/batches", list_batches),
        web.get("/v1/batches/{name}", retrieve_batch), web.get("/log", log), web.post("/told", told),
    ])  # fmt: skip
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


class JudgeServer:
    """The endpoint as a process; a context manager."""

    def __init__(self, latency: float = 0.0, capacity: int = 0) -> None:
        options = ["--latency", str(latency), "--capacity", str(capacity)]
        command = [sys.executable, "-m", "tests.judge_server", *options]
        self.process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.process.kill()
        self.process.communicate()

    def log(self) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/log") as reply:
            return json.load(reply)

    def tell(self, **settings: Any) -> None:
        """Behave so from now on, and forget what was counted."""
        data = json.dumps({"latency": 0.0, "capacity": 0, **settings}).encode()
        urllib.request.urlopen(f"http://127.0.0.1:{self.port}/told", data=data).close()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds of an answer (default: 0)")
    parser.add_argument("--capacity", type=int, default=0, help="calls at one time; 0: any number (default: 0)")
    args = parser.parse_args(argv)
    asyncio.run(serve(args.latency, args.capacity))
    return 0


if __name__ == "__main__":
    sys.exit(main())
