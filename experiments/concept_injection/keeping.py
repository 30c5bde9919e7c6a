"""What becomes of a file's lines while it is made: on the disk, before a judge, in a store."""

import argparse
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from experiments.concept_injection.destination import Destination
from experiments.concept_injection.judging import RUBRIC, open_verdicts, values_of
from experiments.concept_injection.paths import SweepPaths
from experiments.concept_injection.prompts import read_prompt
from experiments.concept_injection.request import SweepRequest
from experiments.concept_injection.trials import TrialRecord
from interp.jsonl import append_lines, cut_torn_line, read_lines
from interp.judges.online import OnlineJudging
from interp.judges.options import make_judge
from interp.judges.rubrics import read_rubric
from interp.judges.verdicts import VerdictFile
from interp.stores import AlreadyThere, GrowingUpload, Store, StoreConflict, StoreError, open_store

log = logging.getLogger(__name__)


class Keeping:
    """One file at a time: `begin`, `add` batches of lines, `finish`. Judge and store are there when they are asked for.

    Args:
        store: where the file grows too, every `upload_every` lines; None for nowhere.
        judge_args: the options that describe a judge; None to judge later.
    """

    def __init__(
        self, paths: SweepPaths, request: SweepRequest, store: Store | None, upload_every: int,
        judge_args: argparse.Namespace | None,
    ) -> None:
        self.paths, self.store, self.upload_every = paths, store, upload_every
        self._question = read_prompt(request.prompt_version).question
        self._judge_args = judge_args
        self._uploads: list[GrowingUpload] = []
        self._verdicts: VerdictFile | None = None
        self._online: OnlineJudging | None = None

    def begin(self, name: str) -> None:
        """Bring what a store holds of a file, cut off a torn line, and hand unjudged lines to the judge.

        Raises:
            StoreConflict: the store holds other lines.
        """
        self._path, self._name, self._since_upload = self.paths.records(name), name, 0
        self._uploads = [] if self.store is None else [self._upload(self._path)]
        for upload in self._uploads:
            upload.fetch()
        cut_torn_line(self._path)
        if self._judge_args is not None:
            self._begin_judging(self._judge_args)

    def add(self, rows: Sequence[TrialRecord]) -> None:
        """Append lines; hand them to the judge; upload when it is time."""
        append_lines(self._path, [row.model_dump(mode="json") for row in rows])
        for row in rows:
            self._submit(row)
        self._since_upload += len(rows)
        if self._since_upload >= self.upload_every:
            self._push()

    def finish(self) -> None:
        """The file is whole: wait for the judge, then store everything under its final name."""
        self._end_judging()
        for upload in self._uploads:
            upload.finish()
        if self.store is not None:
            log_odds = self.paths.log_odds(self._name)
            with suppress(AlreadyThere):
                self.store.create(self.paths.stored(log_odds.name), log_odds.read_bytes())
        self._uploads = []

    def stop(self) -> None:
        """Before the end: what is in flight is written, what there is is uploaded; nothing is lost."""
        if self._online is not None:
            self._online.stop()
            self._online = None
        self._close_verdicts()
        with suppress(StoreConflict):
            self._push()

    def _push(self) -> None:
        """Failing uploads stop nothing: the lines are on the disk, and the next upload sends them all.

        Raises:
            StoreConflict: another machine has gone on with these files; to go on here too would be for nothing.
        """
        self._since_upload = 0
        for upload in self._uploads:
            try:
                upload.push()
            except StoreConflict:
                raise
            except StoreError as error:
                log.warning("%s", error)

    def _upload(self, path: Path) -> GrowingUpload:
        assert self.store is not None
        within = path.relative_to(self.paths.folder).as_posix()
        return GrowingUpload(self.store, self.paths.stored(within), path)

    def _begin_judging(self, args: argparse.Namespace) -> None:
        judge, rubric = make_judge(args), read_rubric(RUBRIC)
        path = open_verdicts(self._path, rubric, judge.name)
        if self.store is not None:
            self._uploads.append(self._upload(path))
            self._uploads[-1].fetch()
        self._verdicts = VerdictFile(path, rubric, judge.name)
        self._online = OnlineJudging(judge, rubric, self._verdicts)
        for row in read_lines(self._path):
            self._submit(TrialRecord.model_validate(row))

    def _submit(self, row: TrialRecord) -> None:
        if self._online is not None:
            self._online.submit(row.id, values_of(row, self._question))

    def _end_judging(self) -> None:
        if self._online is not None:
            tally = self._online.close()
            self._online = None
            log.info("%s: %s", self._name, tally.line())
            if tally.stopped:
                log.warning("%s", tally.stopped)
        self._close_verdicts()

    def _close_verdicts(self) -> None:
        if self._verdicts is not None:
            self._verdicts.close()
            self._verdicts = None


@contextmanager
def keeping(paths: SweepPaths, request: SweepRequest, args: argparse.Namespace) -> Iterator[Keeping]:
    """As the options say; whatever ends the block, what was made is kept.

    Raises:
        SettingsChanged: the store's folder is another request's.
    """
    store = None if args.store is None else open_store(args.store)
    if store is not None:
        Destination(store, paths).claim(request)
    keep = Keeping(paths, request, store, args.upload_every, args if args.judge else None)
    try:
        yield keep
    except BaseException:
        keep.stop()
        raise
