"""How fast and how lean judging is, beside the SDK as it comes and bare HTTP, in one run, against an endpoint here.

The endpoint answers at once, so all that is measured is the client. Each side runs in a process of its own, taking
turns. Then: the memory of judging a long list with a scripted judge, and the time to plan and price one.

Reads   nothing. Works in a temporary folder.
Writes  the page of results, to FILE where --out is given, and to standard output

Example: python -m benchmarks.judge_client --out benchmarks/results/judge_client_2026-11-21_2cores-intel-xeon.md
         python -m benchmarks.judge_client --calls 200 --repeats 1 --items 5000 --planned 5000
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.fresh_process import resident_bytes
from benchmarks.machine import this_machine
from benchmarks.pages import page_option, publish
from benchmarks.stopwatch import Cost, now
from benchmarks.tables import machine_lines, table
from interp import cli
from interp.files import human_bytes
from interp.judges.dialect import Dialect
from interp.judges.judging import Item, Plan, judge_all, plan_judging
from interp.judges.limits import Limits
from interp.judges.openai_judge import Endpoint, OpenAIJudge
from interp.judges.prices import read_price
from interp.judges.rubrics import Rubric, read_rubric
from interp.judges.scripted import ScriptedJudge
from interp.judges.spending import Spending
from interp.judges.verdicts import VerdictFile

GOAL = 450
"""Calls a second of one core."""
_MODEL = "gpt-5-mini"
_VERDICT = {"reasoning": "It says so.", "claims_detection": True, "claimed_concept": "fear", "coherent": True,
            "refused": False}  # fmt: skip


# --- The endpoint -----------------------------------------------------------------------------------------------------


class _Endpoint(asyncio.Protocol):
    """Answers every request with one and the same completion, as soon as the request is whole."""

    _body = json.dumps({
        "id": "c", "object": "chat.completion", "created": 1, "model": _MODEL,
        "choices": [{"index": 0, "finish_reason": "stop", "logprobs": None,
                     "message": {"role": "assistant", "content": json.dumps(_VERDICT), "refusal": None}}],
        "usage": {"prompt_tokens": 700, "completion_tokens": 60, "total_tokens": 760},
    }).encode()  # fmt: skip
    _reply = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(_body) + _body

    def connection_made(self, transport: Any) -> None:
        self._transport, self._received = transport, b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
            if len(self._received) < end + 4 + length:
                return
            self._received = self._received[end + 4 + length :]
            self._transport.write(self._reply)


def _serve(connection: Any) -> None:
    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(_Endpoint, "127.0.0.1", 0, backlog=1024)
        connection.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


@contextmanager
def endpoint() -> Iterator[str]:
    """The endpoint's base URL, while it runs in a process of its own."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}/v1"
    finally:
        process.kill()
        process.join()


# --- The sides --------------------------------------------------------------------------------------------------------


def items(rubric: Rubric, count: int) -> Iterator[Item]:
    """Items with texts of about 2,000 characters together, no two the same."""
    filler = "The model was asked a question and gave a reply of ordinary length. " * 13
    for number in range(count):
        yield f"fear_injection_L{number}", dict.fromkeys(rubric.placeholders, f"{filler}{number}")


def sdk_side(base_url: str, calls: int, in_flight: int) -> Cost:
    """The SDK as it comes: its own transport, `create`, the verdict read from its answer."""
    from openai import AsyncOpenAI

    async def work() -> Cost:
        client = AsyncOpenAI(api_key="none", base_url=base_url)

        async def call(body: dict[str, Any]) -> object:
            answer = await client.chat.completions.create(**body)
            return json.loads(answer.choices[0].message.content or "")

        return await _timed(call, calls, in_flight)

    return asyncio.run(work())


def bare_side(base_url: str, calls: int, in_flight: int) -> Cost:
    """aiohttp and json, no retries, no limits, no checks."""
    import aiohttp

    async def work() -> Cost:
        connector = aiohttp.TCPConnector(limit=in_flight)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def call(body: dict[str, Any]) -> object:
                async with session.post(f"{base_url}/chat/completions", json=body) as reply:
                    return json.loads((await reply.json())["choices"][0]["message"]["content"])

            return await _timed(call, calls, in_flight)

    return asyncio.run(work())


def our_side(base_url: str, calls: int, in_flight: int) -> Cost:
    """All of `judge_all`: limits, cap, checked verdicts, and a verdict file on the disk."""
    rubric = read_rubric("introspection_detection")
    spending = Spending(read_price(_MODEL), cap=1e6)
    judge = OpenAIJudge(Endpoint(_MODEL, base_url, ""), Limits(max_in_flight=in_flight), spending)
    with tempfile.TemporaryDirectory() as folder, VerdictFile(Path(folder) / "v.jsonl", rubric, _MODEL) as file:
        judge_all(items(rubric, in_flight), judge, rubric, file)  # as with the other sides: opens the connections
        start = now()
        tally = judge_all(items(rubric, in_flight + calls), judge, rubric, file)
        cost = now() - start
    assert tally.judged == calls
    return cost


async def _timed(call: Callable[[dict[str, Any]], Any], calls: int, in_flight: int) -> Cost:
    """The cost of the calls after `in_flight` first ones, by that many workers."""
    rubric = read_rubric("introspection_detection")
    asked = (rubric.messages(values) for _, values in items(rubric, in_flight + calls))
    bodies = (Dialect().request(_MODEL, messages, rubric, 2000) for messages in asked)

    async def worker(count: int) -> None:
        for _ in range(count):
            await call(next(bodies))

    await asyncio.gather(*(worker(1) for _ in range(in_flight)))
    start = now()
    await asyncio.gather(*(worker(calls // in_flight + (each < calls % in_flight)) for each in range(in_flight)))
    return now() - start


SIDES: dict[str, Callable[[str, int, int], Cost]] = {
    "bare aiohttp": bare_side, "SDK as it comes": sdk_side, "ours, `judge_all`": our_side,
}  # fmt: skip


def speed_section(args: argparse.Namespace) -> str:
    costs: dict[str, list[Cost]] = {name: [] for name in SIDES}
    with endpoint() as base_url:
        for number in range(args.repeats):
            order = list(SIDES) if number % 2 else list(reversed(SIDES))
            for name in order:
                costs[name].append(_alone(SIDES[name], base_url, args.calls, args.in_flight))
    sdk = median(cost.cpu for cost in costs["SDK as it comes"])
    rows = [_speed_row(name, each, args.calls, sdk) for name, each in costs.items()]
    ours = args.calls / median(cost.cpu for cost in costs["ours, `judge_all`"])
    met = "reached" if ours >= GOAL else "not reached"
    words = (
        f"{args.calls} calls with {args.in_flight} in flight, {args.repeats} times each; medians, least to most. Ours "
        "checks every verdict, keeps limits and cap, and writes each verdict to the disk; the others read its JSON."
    )
    header = ["", "calls/s of one core", "least to most", "calls/s by the clock", "CPU ms a call", "÷ SDK as it comes"]
    goal = f"Goal: {GOAL} calls/s of one core. {ours:.0f}, {met}."
    return "\n\n".join(["## Calls", words, table(header, rows), goal])


def _speed_row(name: str, costs: list[Cost], calls: int, sdk: float) -> list[str]:
    cpu = median(cost.cpu for cost in costs)
    rates = sorted(calls / cost.cpu for cost in costs)
    wall = calls / median(cost.wall for cost in costs)
    return [name, f"{calls / cpu:.0f}", f"{rates[0]:.0f} to {rates[-1]:.0f}", f"{wall:.0f}",
            f"{cpu / calls * 1000:.2f}", f"{sdk / cpu:.2f}×"]  # fmt: skip


# --- Long lists -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LongRun:
    """Judging a list with a script: seconds, and bytes above the start at their peak."""

    seconds: float
    peak_bytes: int


def long_run(count: int) -> LongRun:
    """Judge so many items, none of them the same."""
    rubric = read_rubric("introspection_detection")
    judge = ScriptedJudge(lambda text: {"claims_detection": text.endswith("7")})
    with tempfile.TemporaryDirectory() as folder, VerdictFile(Path(folder) / "v.jsonl", rubric, judge.name) as file:
        judge_all(items(rubric, 100), judge, rubric, file)
        start, first = time.perf_counter(), resident_bytes("VmRSS")
        tally = judge_all(items(rubric, count), judge, rubric, file)
        assert tally.judged == count - 100
        return LongRun(time.perf_counter() - start, resident_bytes("VmHWM") - first)


def timed_plan(count: int) -> "TimedPlan":
    """Plan and price so many items."""
    rubric = read_rubric("introspection_detection")
    with tempfile.TemporaryDirectory() as folder, VerdictFile(Path(folder) / "v.jsonl", rubric, _MODEL) as file:
        start = time.perf_counter()
        plan = plan_judging(items(rubric, count), rubric, file, read_price(_MODEL))
        return TimedPlan(plan, time.perf_counter() - start)


@dataclass(frozen=True)
class TimedPlan:
    plan: Plan
    seconds: float


def lists_section(args: argparse.Namespace) -> str:
    counts = sorted({max(1000, args.items // 10), args.items})
    runs = [(count, _alone(long_run, count)) for count in counts]
    rows = [
        [f"{count}", f"{run.seconds:.1f}", f"{count / run.seconds:.0f}", human_bytes(run.peak_bytes),
         f"{run.peak_bytes / count:.0f}"]
        for count, run in runs
    ]  # fmt: skip
    planned = _alone(timed_plan, args.planned)
    header = ["items", "seconds", "items/s", "memory above the start", "bytes an item"]
    words = (
        "A scripted judge, every text another, one verdict line each on the disk. What grows is the index: 16 bytes of "
        "key and a place an item, and what Python puts around them. The texts, about 2 kB an item, never are in memory."
    )
    plan = f"Planning and pricing {args.planned} items: {planned.seconds:.1f} s ({planned.plan.line()}; {_MODEL})."
    return "\n\n".join(["## Long lists", words, table(header, rows), plan])


def _alone(work: Callable[..., Any], *args: Any) -> Any:
    """`work(*args)` in a process that has done nothing else."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *args).result()


def measure(args: argparse.Namespace) -> str:
    """The whole page."""
    machine = this_machine(1, None)
    sections = [speed_section(args), lists_section(args)]
    loads = f"{machine_lines(machine)} After the last: {os.getloadavg()[0]:.2f} (this benchmark itself counts)."
    clients = ", ".join(f"{name} {version(name)}" for name in ("openai", "aiohttp"))
    where = f"{clients}. Client and endpoint share this machine; no provider was reached."
    return "\n\n".join(["# Asking a judge", loads, where, *sections]) + "\n"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, parents=[page_option()]
    )
    number = cli.positive
    parser.add_argument("--calls", type=number, default=4000, help="of each side, each time (default: 4000)")
    parser.add_argument("--in-flight", type=number, default=256, help="calls at one time (default: 256)")
    parser.add_argument("--repeats", type=number, default=3, help="times that each side has its turn (default: 3)")
    parser.add_argument("--items", type=number, default=500_000, help="of the long list (default: 500000)")
    parser.add_argument("--planned", type=number, default=473_088, help="items to plan (default: 473088)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    page = measure(args)
    publish(page, args.out)
    return 0


if __name__ == "__main__":
    cli.run(main)
