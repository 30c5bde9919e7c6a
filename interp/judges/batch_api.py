"""Judging through a provider's Batch API: requests handed in as files, answers fetched hours later, at a lower price.

What was handed in is kept beside the verdict file until all of it is collected: a run that is killed, at any moment,
goes on from there with the same command, and no request is handed in twice.
"""

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interp.files import read_json, sweep_leftovers, write_bytes, write_json
from interp.judges.answers import Answered
from interp.judges.batch_client import BatchClient
from interp.judges.judging import Item, Report, Tally, verdict_line
from interp.judges.openai_judge import OpenAIJudge
from interp.judges.prices import most_tokens
from interp.judges.replies import Reply
from interp.judges.rubrics import Rubric
from interp.judges.verdicts import VerdictFile
from interp.records import Record, read_record

MOST_ROWS = 50_000
MOST_BYTES = 90_000_000
"""Of one file; providers name 50,000 rows and 100 or 200 MB."""
_ENDPOINT = "/v1/chat/completions"
_STATE = "state.json"
_REPEATS = "repeats.json"
_ENDED = {"completed", "failed", "expired", "cancelled"}

log = logging.getLogger(__name__)


class BatchShard(Record):
    """One file of requests and how far it has come. `most_usd`: what it can cost at most, null: price unknown."""

    name: str
    rows: int
    most_usd: float | None
    file_id: str | None = None
    batch_id: str | None = None
    collected: bool = False


class BatchState(Record):
    """All that was prepared from one list of items, for one rubric and judge."""

    rubric_hash: str
    judge: str
    shards: tuple[BatchShard, ...]


def judge_in_batches(
    items: Iterable[Item], judge: OpenAIJudge, rubric: Rubric, file: VerdictFile, *, poll_seconds: float = 60.0,
    on_progress: Report | None = None, stop: Callable[[], bool] | None = None,
) -> Tally:  # fmt: skip
    """Have every item judged that has no verdict in `file` yet; what came of it.

    First what an earlier run has handed in is collected, then what is left of `items` is handed in. At the spending
    cap, and at a `stop`, what is at the provider stays there for the next run, and `stopped` says so.

    Raises:
        JudgeUnavailable: the provider cannot be reached, or refuses the key; the same command goes on later.
    """
    work = _Batches(judge, rubric, file, poll_seconds, on_progress or (lambda _: None), stop or (lambda: False))
    try:
        work.finish()
        if work.tally.stopped is None:
            work.prepare(items)
            work.finish()
    finally:
        file.sync()
    work.report(work.tally)
    return work.tally


@dataclass(frozen=True)
class _Asked:
    """One request: for which item, under which key (hex), its line, and the most input tokens it can have."""

    item: str
    key: str
    line: bytes
    most_tokens: float


class _Batches:
    """One run over one folder of request files."""

    def __init__(
        self, judge: OpenAIJudge, rubric: Rubric, file: VerdictFile, poll_seconds: float, report: Report,
        stop: Callable[[], bool],
    ) -> None:  # fmt: skip
        self.judge, self.rubric, self.file = judge, rubric, file
        self.report, self.tally = report, Tally(cost=None if judge.spending.price is None else 0.0)
        self.folder = file.path.with_suffix(".batches")
        self._poll_seconds, self._stop = poll_seconds, stop
        self._client = BatchClient(judge.endpoint)
        self._state = self._read_state()
        sweep_leftovers(self.folder)

    # --- Preparing ----------------------------------------------------------------------------------------------------

    def prepare(self, items: Iterable[Item]) -> None:
        """Write the request files of all items that must be asked; those that need not are settled at once."""
        shards: list[BatchShard] = []
        repeats: dict[str, str] = {}
        draft: list[_Asked] = []
        size = 0
        for asked in self._requests(items, repeats):
            if len(draft) == MOST_ROWS or (draft and size + len(asked.line) > MOST_BYTES):
                shards.append(self._write(draft, len(shards)))
                draft, size = [], 0
            draft.append(asked)
            size += len(asked.line)
        if draft:
            shards.append(self._write(draft, len(shards)))
            write_json(self.folder / _REPEATS, repeats)
            self._save(BatchState(rubric_hash=self.rubric.hash, judge=self.judge.name, shards=tuple(shards)))

    def _requests(self, items: Iterable[Item], repeats: dict[str, str]) -> Iterator[_Asked]:
        """Those that must be made. Items with the text of another in the list are noted in `repeats`, with its key."""
        seen: set[bytes] = set()
        for item, values in items:
            messages = self.rubric.messages(values)
            key = self.file.key(messages)
            if self.file.has(item, key):
                self.tally.from_cache += 1
            elif self.file.knows(key):
                self._copy(item, key)
            elif key in seen:
                repeats[item] = key.hex()
            else:
                seen.add(key)
                body = self.judge.request_body(messages, self.rubric)
                row = {"custom_id": key.hex(), "method": "POST", "url": _ENDPOINT, "body": body}
                line = json.dumps(row).encode() + b"\n"
                yield _Asked(item, key.hex(), line, most_tokens(messages, self.rubric.schema_bytes))

    def _write(self, draft: list[_Asked], number: int) -> BatchShard:
        name = f"shard-{number:03}"
        write_bytes(self._requests_path(name), b"".join(asked.line for asked in draft))
        write_json(self._items_path(name), {asked.key: asked.item for asked in draft})
        price, output = self.judge.spending.price, self.judge.endpoint.max_output_tokens
        most = price.cost(sum(asked.most_tokens for asked in draft), output * len(draft)) if price else None
        return BatchShard(name=name, rows=len(draft), most_usd=most)

    # --- Handing in and collecting ------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Hand in what is prepared, wait, collect; at the end nothing of it is left but the verdicts."""
        if self._state is None:
            return
        while self._hand_in_what_the_cap_allows():
            waiting = [shard for shard in self._state.shards if shard.batch_id and not shard.collected]
            if self._stop():
                self.tally.stopped = f"stopped with {len(waiting)} batches at the provider; the same command goes on"
                break
            ended = [shard for shard in waiting if self._collect_if_ended(shard)]
            self.report(self.tally)
            if not ended:
                time.sleep(self._poll_seconds)
        self._close()

    def _hand_in_what_the_cap_allows(self) -> bool:
        """Whether anything is at the provider then. Batches that cost less than they could make room for others."""
        assert self._state is not None
        for shard in self._state.shards:
            if shard.batch_id is None and self._within_cap(shard):
                self._hand_in(shard)
        held_back = [shard for shard in self._state.shards if shard.batch_id is None]
        at_provider = any(shard.batch_id and not shard.collected for shard in self._state.shards)
        if held_back and not at_provider:
            self.tally.stopped = (
                f"the spending cap of ${self.judge.spending.cap:g} could be passed by the next batch (up to "
                f"${held_back[0].most_usd:.2f} for {held_back[0].rows} calls); raise --spend-at-most for the rest"
            )
        return at_provider

    def _within_cap(self, shard: BatchShard) -> bool:
        """Whether the cap allows this shard, whatever those at the provider will cost."""
        cap = self.judge.spending.cap
        if cap is None or shard.most_usd is None or self._state is None:
            return True
        open_most = sum(each.most_usd or 0 for each in self._state.shards if each.batch_id and not each.collected)
        return self.judge.spending.spent + open_most + shard.most_usd <= cap

    def _hand_in(self, shard: BatchShard) -> None:
        """Upload and create, each noted at once; a batch that was created before a kill is found by its file."""
        if shard.file_id is None:
            shard = self._change(shard, file_id=self._client.upload(self._requests_path(shard.name)))
        assert shard.file_id is not None
        batch_id = self._client.find_batch(shard.file_id) or self._client.create_batch(shard.file_id, _ENDPOINT)
        self._change(shard, batch_id=batch_id)
        log.info("%s: %d calls handed in as %s", shard.name, shard.rows, batch_id)

    def _collect_if_ended(self, shard: BatchShard) -> bool:
        assert shard.batch_id is not None
        batch = self._client.batch(shard.batch_id)
        if batch.status not in _ENDED:
            return False
        items: dict[str, str] = read_json(self._items_path(shard.name))
        for line in self._client.lines(batch.output_file_id, batch.error_file_id):
            self._take(json.loads(line), items)
        for key, item in items.items():
            self._note(item, bytes.fromhex(key), Reply("retry", error=f"no answer: the batch is {batch.status}"))
        self._change(shard, collected=True)
        return True

    def _take(self, row: Mapping[str, Any], items: dict[str, str]) -> None:
        """One line of results; its item is taken from `items`."""
        item = items.pop(row["custom_id"], None)
        response = row.get("response") or {}
        if item is not None:
            content = json.dumps(response.get("body") or {"error": row.get("error")}).encode()
            reply = self.judge.read(response.get("status_code") or 500, {}, content, self.rubric)
            self._note(item, bytes.fromhex(row["custom_id"]), reply)

    def _note(self, item: str, key: bytes, reply: Reply) -> None:
        if self.file.has(item, key):
            return
        cost = self.judge.spending.charge(reply.charge, reply.input_tokens, reply.output_tokens)
        answered = Answered(reply.verdict, reply.error, reply.input_tokens, reply.output_tokens, cost=cost)
        self.file.append(verdict_line(self.file, item, key, answered))
        self.tally.add(answered)

    def _copy(self, item: str, key: bytes) -> None:
        answered = Answered(self.file.find(key), requests=0)
        self.file.append(verdict_line(self.file, item, key, answered, copied=True))
        self.tally.from_cache += 1

    # --- State --------------------------------------------------------------------------------------------------------

    def _close(self) -> None:
        """Settle the repeats; remove the folder once all is collected, count as unjudged what is not."""
        assert self._state is not None
        self.tally.unjudged += sum(shard.rows for shard in self._state.shards if not shard.collected)
        for item, name in read_json(self.folder / _REPEATS).items():
            key = bytes.fromhex(name)
            if self.file.knows(key) and not self.file.has(item, key):
                self._copy(item, key)
            elif not self.file.knows(key):
                self.tally.unjudged += 1
        if all(shard.collected for shard in self._state.shards):
            self.file.sync()
            (self.folder / _STATE).unlink()
            shutil.rmtree(self.folder)
            self._state = None

    def _change(self, shard: BatchShard, **changes: Any) -> BatchShard:
        assert self._state is not None
        changed = shard.model_copy(update=changes)
        shards = tuple(changed if each.name == shard.name else each for each in self._state.shards)
        self._save(self._state.model_copy(update={"shards": shards}))
        return changed

    def _save(self, state: BatchState) -> None:
        write_json(self.folder / _STATE, state.model_dump())
        self._state = state

    def _read_state(self) -> BatchState | None:
        path = self.folder / _STATE
        if not path.exists():
            return None
        return read_record(BatchState, path)

    def _requests_path(self, name: str) -> Path:
        return self.folder / f"{name}.requests.jsonl"

    def _items_path(self, name: str) -> Path:
        return self.folder / f"{name}.items.json"
