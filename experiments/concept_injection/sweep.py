"""Run a sweep: inject concepts into a model's residual stream, ask whether it notices, keep each reply as a line.

Reads   datasets/introspection_prompts/, datasets/words/
Writes  <root>/concept_injection/<experiment id>/<model>/{request.json, vectors.safetensors, control.jsonl,
        <concept>.jsonl, <concept>.log_odds.jsonl}

The same command does what is left. Workers share the list of files, a concept each and the control; `--shard i/n`
takes a fixed share of it. With `--judge` replies are judged meanwhile (see backfill_judges.py for later); with
`--store` files are fetched first and uploaded as they grow.

Example: python -m experiments.concept_injection.sweep --local --experiment-id first --model 3b --trials 20
         python -m experiments.concept_injection.sweep --local --experiment-id tiny --model planted_quirks --dry-run
"""

import argparse
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.concept_injection.keeping import Keeping, keeping
from experiments.concept_injection.options import read_request, sweep_options
from experiments.concept_injection.paths import SweepPaths
from experiments.concept_injection.prompts import check_baseline, read_prompt, read_words
from experiments.concept_injection.request import SweepRequest
from experiments.concept_injection.settings import settings_of
from experiments.concept_injection.trials import (
    Trial,
    TrialConfig,
    TrialRecord,
    batches_of,
    plan_readouts,
    plan_trials,
)
from interp import cli
from interp.files import write_bytes, write_json
from interp.jsonl import read_lines
from interp.judges.options import judge_options
from interp.leases import Leases
from interp.manifest import MANIFEST, guard, guard_numerics
from interp.sharing import HowToShare, SharedWork
from interp.stopping import StopRequest, stop_on_signals
from interp.work import Shard

if TYPE_CHECKING:
    from experiments.concept_injection.concept_vectors import ConceptVectors
    from interp.models import LanguageModel

log = logging.getLogger(__name__)


class Sweep:
    """One sweep over one model; the model is loaded when the first file asks for it."""

    def __init__(self, request: SweepRequest, root: Path, device: str | None = None) -> None:
        self.request, self.device = request, device
        self.paths = SweepPaths.of(root, request)
        self._loaded: tuple[LanguageModel, ConceptVectors] | None = None

    def layers(self) -> tuple[int, ...]:
        """Which layers are pushed at; the model's depth is read from its config alone."""
        if self.request.layers:
            return self.request.layers
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(self.request.model_id, revision=self.request.revision)
        return self.request.layers_of(config.get_text_config().num_hidden_layers)

    def missing(self, name: str) -> list[Trial]:
        """The trials of a file that have no line yet."""
        done = {str(row.get("id")) for row in read_lines(self.paths.records(name))}
        return [trial for trial in plan_trials(self.request, name, self._planned_layers()) if trial.id not in done]

    def is_done(self, name: str) -> bool:
        return self.paths.log_odds(name).exists() and not self.missing(name)

    def run_file(self, name: str, keep: Keeping, stop: StopRequest) -> None:
        """Answer the trials of a file that are left, batch by batch, and read its log-odds.

        Raises:
            Stopped: a signal asked for it; what is written is whole.
        """
        path = self.paths.records(name)
        keep.begin(name)
        done = {str(row.get("id")) for row in read_lines(path)}
        trials = plan_trials(self.request, name, self._planned_layers())
        for batch in batches_of(self.request, trials):
            if any(trial.id not in done for trial in batch):
                rows = [row for row in self._answer(batch) if row.id not in done]
                keep.add(rows)
                stop.raise_if_asked(f"{name} not finished")
        if not self.paths.log_odds(name).exists():
            self._write_log_odds(name)
        keep.finish()

    def _planned_layers(self) -> tuple[int, ...]:
        if not hasattr(self, "_layers"):
            self._layers = self.layers()
        return self._layers

    def _answer(self, batch: Sequence[Trial]) -> list[TrialRecord]:
        from experiments.concept_injection.injection import respond
        from experiments.concept_injection.prompts import render

        model, vectors = self.load()
        prompt = render(model.tokenizer, read_prompt(self.request.prompt_version))
        replies = respond(model, self.request, vectors, prompt, batch)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return [self._record(trial, reply, vectors, now) for trial, reply in zip(batch, replies, strict=True)]

    def _record(self, trial: Trial, reply: str, vectors: "ConceptVectors", now: str) -> TrialRecord:
        request, push = self.request, trial.push
        norm = None if push.layer is None or push.concept is None else vectors.vector_norm(push.concept, push.layer)
        return TrialRecord(
            id=trial.id,
            timestamp=now,
            concept=push.concept,
            was_injected=push.condition == "injection",
            response=reply,
            config=TrialConfig(
                model=request.model_id, layer=push.layer, strength=push.strength, strength_unit=request.strength_unit,
                magnitude=vectors.magnitude(request, push), vector_norm=norm, condition=push.condition,
                direction=push.direction, prompt_version=request.prompt_version, inject_style=request.inject_style,
                trial=trial.number,
            ),
        )  # fmt: skip

    def _write_log_odds(self, name: str) -> None:
        from experiments.concept_injection.readout import read_log_odds

        model, vectors = self.load()
        rows = read_log_odds(model, self.request, vectors, plan_readouts(self.request, name, self._planned_layers()))
        write_bytes(self.paths.log_odds(name), "".join(row.model_dump_json() + "\n" for row in rows).encode())

    def load(self) -> "tuple[LanguageModel, ConceptVectors]":
        """The model and the concept vectors, once."""
        if self._loaded is None:
            from experiments.concept_injection.concept_vectors import make_vectors
            from interp.layers import check_layers
            from interp.models import load_language_model, numerics, pick_device, set_threads

            set_threads(self.request.threads)
            device = pick_device(self.device)
            guard_numerics(self.paths.folder, numerics(device))
            log.info("loading %s", self.request.model_id)
            model = load_language_model(self.request.spec, device)
            layers = check_layers(self._planned_layers(), model.n_layers, self.request.model_id)
            vectors = make_vectors(model, self.request, layers)
            vectors.save(self.paths.folder)
            self._loaded = model, vectors
        return self._loaded


def prepare(request: SweepRequest, root: Path, overwrite: bool = False) -> SweepPaths:
    """Check what a sweep needs, and claim its folder; loads no model.

    Raises:
        InputError: an unknown prompt version or word list, a concept among the baseline words.
        SettingsChanged: the folder holds lines of another request.
    """
    read_prompt(request.prompt_version)
    check_baseline(read_words(request.baseline), request.concepts, request.baseline)
    paths = SweepPaths.of(root, request)
    paths.folder.mkdir(parents=True, exist_ok=True)
    if overwrite:
        for path in [*paths.folder.glob("*.jsonl"), paths.folder / MANIFEST]:
            path.unlink(missing_ok=True)
    guard(paths.folder, settings_of(request))
    write_json(paths.request, request.model_dump(mode="json"))
    return paths


def run_sweep(
    request: SweepRequest, root: Path, args: argparse.Namespace, names: Sequence[str] | None = None
) -> Path:
    """Do what is left of a sweep, or of a share of it (the files `names`, else the shard of `args`); its folder."""
    paths = prepare(request, root, args.overwrite)
    sweep = Sweep(request, root, args.device)
    names = args.shard.of(list(request.files)) if names is None else names
    how = HowToShare[str](key=lambda name: f"sweep/{name}", affinity=lambda name: (name,), is_done=sweep.is_done)
    pending = [name for name in names if not sweep.is_done(name)]
    log.info("sweep: %d of %d files pending", len(pending), len(names))
    progress = cli.Progress("sweep", len(pending), "files")
    with (
        stop_on_signals(args.warning_seconds) as stop,
        Leases(paths.leases, args.lease_seconds) as leases,
        keeping(paths, request, args) as keep,
    ):
        work = SharedWork(pending, how, leases)
        work.do_all(lambda name: sweep.run_file(name, keep, stop), lambda name: name, progress, stop)
    return paths.folder


def print_plan(request: SweepRequest, root: Path, shard: Shard) -> None:
    """What would be done, file by file; nothing is loaded or written."""
    sweep = Sweep(request, root)
    layers = ", ".join(map(str, sweep.layers()))
    print(f"{request.model_id}: layers {layers}; strengths {', '.join(map(str, request.strengths))}")
    for name in shard.of(list(request.files)):
        trials = plan_trials(request, name, sweep.layers())
        left = len(sweep.missing(name))
        print(f"sweep {sweep.paths.records(name)}: {len(trials)} trials, {left} left")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[sweep_options(), cli.work_options(), judge_options()],
    )
    parser.add_argument("--local", action="store_true", help="run on this machine (spawn_sweep.py runs it elsewhere)")
    parser.add_argument("--device", help="cuda, cuda:1, cpu (default: cuda where there is one)")
    parser.add_argument("--store", metavar="URL", help="gs://…, s3://… or a folder: fetch first, upload as it grows")
    parser.add_argument(
        "--upload-every", type=cli.positive, default=50, metavar="N", help="trials between uploads (default: 50)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    request = read_request(args)
    if args.dry_run:
        print_plan(request, args.root, args.shard)
        return 0
    folder = run_sweep(request, args.root, args)
    print(folder)
    return 0


if __name__ == "__main__":
    cli.run(main)
