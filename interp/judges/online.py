"""Judging while a GPU makes the texts: the producer never waits for the judge, and nothing is dropped."""

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from interp.errors import InterpError
from interp.files import temporary_name
from interp.judges.answers import Judge
from interp.judges.judging import Item, Report, Tally, judge_source
from interp.judges.rubrics import Rubric
from interp.judges.verdicts import VerdictFile

_POLL_SECONDS = 0.05

log = logging.getLogger(__name__)


class OnlineJudging:
    """A judge in a thread of its own, fed by `submit`; a context manager that ends with `close`.

    Items wait on the disk, in a file without a name beside the verdict file, so that a slow judge costs the producer
    neither time nor memory. What is not judged at the end (a stop, a cap, a refusal) is unjudged, for a later
    `judge_all` over the same items.

    Args:
        file: stays open after the end; nothing else may use it meanwhile.
        stop: once it is true nothing more is asked, and `close` ends soon.
    """

    def __init__(
        self, judge: Judge, rubric: Rubric, file: VerdictFile, on_progress: Report | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> None:  # fmt: skip
        self.tally = Tally()
        self._judge, self._rubric, self._file, self._on_progress = judge, rubric, file, on_progress
        self._spool = _Spool(file.path)
        self._stopping, self._stop = threading.Event(), stop or (lambda: False)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="online judging", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is None:
            self.close()
        else:
            self.stop()

    def submit(self, item: str, values: Mapping[str, str]) -> None:
        """Hand an item over; returns at once, whatever the judge does.

        Raises:
            InputError: a text that the rubric needs is missing, or one is too many.
        """
        self._rubric.messages(values)
        if self._error is None:
            self._spool.put((item, values))

    def close(self) -> Tally:
        """Wait until all that was handed over is judged.

        Raises:
            JudgeUnavailable: the endpoint refused for good; what was answered before is in the file.
        """
        self._spool.end()
        self._thread.join()
        self._spool.close()
        if self._error is not None:
            raise self._error
        return self.tally

    def stop(self) -> Tally:
        """End soon: calls in flight have some seconds, what was not asked stays unjudged. Raises nothing."""
        self._stopping.set()
        self._spool.end()
        self._thread.join()
        self._spool.close()
        return self.tally

    def _run(self) -> None:
        try:
            asyncio.run(self._drain())
        except InterpError as error:
            log.warning("online judging has ended; what follows is unjudged: %s", error)
            self._error = error
        except BaseException as error:
            self._error = error
            raise

    async def _drain(self) -> None:
        await judge_source(
            self._spool, self._judge, self._rubric, self._file, on_progress=self._note,
            stop=lambda: self._stopping.is_set() or self._stop(),
        )  # fmt: skip

    def _note(self, tally: Tally) -> None:
        self.tally = tally
        if self._on_progress:
            self._on_progress(tally)


class _Spool:
    """A queue on the disk: put by one thread, taken by the workers of one event loop."""

    def __init__(self, beside: Path) -> None:
        path = temporary_name(beside.with_name(f"{beside.name}.waiting"))
        self._writer: BinaryIO = path.open("wb")
        self._reader: BinaryIO = path.open("rb")
        path.unlink()
        self._ended = threading.Event()
        self._door: asyncio.Lock | None = None
        self._part = b""

    def put(self, item: Item) -> None:
        """Add an item; whole once the line's end is there."""
        self._writer.write(json.dumps([item[0], dict(item[1])]).encode() + b"\n")
        self._writer.flush()

    def end(self) -> None:
        """Nothing more will be put."""
        self._ended.set()

    def close(self) -> None:
        self._writer.close()
        self._reader.close()

    async def take(self) -> Item | None:
        """The next item, once there is one; None after the last."""
        self._door = self._door or asyncio.Lock()
        async with self._door:
            while True:
                ended = self._ended.is_set()
                line = self._read_line()
                if line is not None:
                    item, values = json.loads(line)
                    return item, values
                if ended:
                    return None
                await asyncio.sleep(_POLL_SECONDS)

    def _read_line(self) -> bytes | None:
        self._part += self._reader.readline()
        if not self._part.endswith(b"\n"):
            return None
        line, self._part = self._part, b""
        return line
