"""How a phase that needs a model goes through its units: one load of the base, and none when nothing is pending."""

import argparse
import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from inference.plan import read_shape
from inference.units import Inventory, Unit, refuse_existing
from interp import cli
from interp.config import BaseModelSpec, Experiment
from interp.errors import InputError, InterpError, ModelUnavailable, ValueOutOfRange
from interp.files import list_names, sweep_leftovers
from interp.layers import check_layers
from interp.leases import Leases
from interp.manifest import fingerprint, guard, guard_numerics, read_fingerprint
from interp.sharing import HowToShare, SharedWork
from interp.stopping import StopRequest, stop_on_signals

if TYPE_CHECKING:
    from interp.models import LanguageModel

log = logging.getLogger(__name__)


class Phase(ABC):
    """Makes one file per prompt in each of its folders, a batch at a time."""

    name: str
    experiment: Experiment

    @abstractmethod
    def folders(self, unit: Unit) -> dict[Path, str]:
        """The folders that a unit writes to, with the suffix of its files there."""

    @abstractmethod
    def settings(self, unit: Unit, folder: Path) -> dict[str, object]:
        """What determines the files of a folder."""

    @abstractmethod
    def variant(self, unit: Unit) -> str:
        """The model variant that does the unit."""

    @abstractmethod
    def do(self, unit: Unit, model: "LanguageModel", inventory: Inventory) -> None:
        """Make the unit's missing files."""

    def pending(self, units: Sequence[Unit], inventory: Inventory) -> list[Unit]:
        """The units with a file missing or torn."""
        return [
            unit
            for unit in units
            if any(inventory.missing(folder, unit.prompts, suffix) for folder, suffix in self.folders(unit).items())
        ]


def run_phase(phase: Phase, units: Sequence[Unit], args: argparse.Namespace) -> int:
    """Do what is pending of `units` under the script's options; 0 when all is done."""
    _check_layers(phase, units)
    inventory = Inventory()
    pending = list(units) if args.overwrite else phase.pending(units, inventory)
    n_prompts = sum(len(unit.prompts) for unit in pending)
    log.info("%s: %d of %d batches pending (%d responses)", phase.name, len(pending), len(units), n_prompts)
    if args.dry_run:
        for unit in pending:
            print(f"{phase.name} {unit.author} {unit.prompt_set.name} batch {unit.index}: {len(unit.prompts)} prompts")
        return 0
    if not (args.skip_existing or args.overwrite):
        _refuse_any_existing(phase, units, inventory)
    if not args.overwrite:
        _claim_folders(phase, units, overwrite=False)
    if pending:
        with stop_on_signals(args.warning_seconds) as stop:
            _do_all(phase, pending, args, stop)
    elif phase.experiment.paths.leases.is_dir():
        with Leases(phase.experiment.paths.leases, args.lease_seconds):
            log.info("nothing is left, so leases of lost workers are removed")
    return 0


def _check_layers(phase: Phase, units: Sequence[Unit]) -> None:
    """See, where the model's size can be known without loading it, that it has the layers."""
    for spec in {phase.experiment.base_spec(phase.variant(unit)) for unit in units}:
        shape = read_shape(phase.experiment, spec)
        if shape is not None:
            check_layers(phase.experiment.config.layers, shape["n_layers"], spec.model)


def _refuse_any_existing(phase: Phase, units: Sequence[Unit], inventory: Inventory) -> None:
    for unit in units:
        for folder, suffix in phase.folders(unit).items():
            if inventory.any_present(folder, unit.prompts, suffix):
                refuse_existing(str(folder))


def _claim_folders(phase: Phase, units: Sequence[Unit], overwrite: bool) -> None:
    """Check or write every folder's manifest; with `overwrite`, remove what is going to be made again first."""
    for folder, owner in {folder: unit for unit in units for folder in phase.folders(unit)}.items():
        sweep_leftovers(folder)
        settings = phase.settings(owner, folder)
        if overwrite:
            own = {prompt.id for unit in units if folder in phase.folders(unit) for prompt in unit.prompts}
            same = read_fingerprint(folder) == fingerprint(settings)
            _remove_outputs(folder, phase.folders(owner)[folder], own if same else None)
        guard(folder, settings, overwrite)


def _remove_outputs(folder: Path, suffix: str, prompt_ids: Collection[str] | None) -> None:
    """Remove the files of some prompts; of all (None) where the settings change, lest two kinds stand side by side."""
    for name in list_names(folder):
        is_output = name.endswith(suffix) and not name.startswith("_")
        if is_output and (prompt_ids is None or name.removesuffix(suffix) in prompt_ids):
            (folder / name).unlink(missing_ok=True)


def _do_all(phase: Phase, pending: Sequence[Unit], args: argparse.Namespace, stop: StopRequest) -> None:
    """Share the pending units with all who work on them, loading each base once, and none while nothing is free.

    What `--overwrite` is to replace is removed only once the first base is there to make it again.
    """
    desk = _Desk(phase, pending, args)
    if args.overwrite:
        desk.load(phase.experiment.base_spec(phase.variant(pending[0])))
        _claim_folders(phase, pending, overwrite=True)
    _note_numerics(phase, pending, desk.numerics)
    progress = cli.Progress(phase.name, sum(len(unit.prompts) for unit in pending), "responses")
    with Leases(phase.experiment.paths.leases, args.lease_seconds) as leases:
        work = SharedWork(pending, how_to_share(phase), leases)
        work.do_all(desk.do, describe, progress, stop, size=lambda unit: len(unit.prompts))
    log.info("%s: %s", phase.name, work.spent)
    desk.raise_first_failure()


def how_to_share(phase: Phase) -> HowToShare[Unit]:
    """Batches change hands; a worker goes on with the adapter, or at least the base, that it has."""
    spec = phase.experiment.base_spec
    return HowToShare(
        key=lambda unit: "/".join((phase.name, phase.variant(unit), *unit.folder_key, str(unit.index))),
        affinity=lambda unit: (spec(phase.variant(unit)), unit.author),
        is_done=lambda unit: not phase.pending([unit], Inventory()),
    )


def describe(unit: Unit) -> str:
    return f"{unit.author} {unit.prompt_set.name} batch {unit.index}"


class _Desk:
    """Where a worker does units: one base at a time, an adapter on it, and what went wrong with some of them."""

    def __init__(self, phase: Phase, pending: Sequence[Unit], args: argparse.Namespace) -> None:
        from interp.models import numerics, pick_device, set_threads

        self.phase = phase
        self.device = pick_device(args.device)
        set_threads(args.threads or phase.experiment.config.threads)
        self.numerics = numerics(self.device)
        self._model: LanguageModel | None = None
        self._failures: dict[str, InterpError] = {}

    def load(self, base: BaseModelSpec) -> "LanguageModel":
        from interp.models import load_language_model

        if self._model is None or self._model.spec != base:
            self._model = None  # before the next one comes: there may be room for one only
            log.info("loading %s", base.model)
            self._model = load_language_model(base, self.device)
            check_layers(self.phase.experiment.config.layers, self._model.n_layers, base.model)
        return self._model

    def do(self, unit: Unit) -> bool:
        """Do a unit; whether it could be done. What is wrong with one author is no reason to leave the others."""
        model = self.load(self.phase.experiment.base_spec(self.phase.variant(unit)))
        try:
            model.use_adapter(self.phase.experiment.adapter_spec(self.phase.variant(unit)))
            self.phase.do(unit, model, Inventory())
        except (InputError, ModelUnavailable, ValueOutOfRange) as error:
            log.error("%s cannot be done: %s", unit.author, error)
            self._failures[unit.author] = error
        return unit.author not in self._failures

    def raise_first_failure(self) -> None:
        """
        Raises:
            InterpError: what was wrong with the first author that could not be done; says how many there are.
        """
        for author, error in self._failures.items():
            others = len(self._failures) - 1
            more = f" ({author}; so it is with {others} more)" if others else ""
            raise type(error)(f"{error}{more}; all that could be done is done")


def _note_numerics(phase: Phase, units: Sequence[Unit], found: Mapping[str, object]) -> None:
    for folder in {folder for unit in units for folder in phase.folders(unit)}:
        guard_numerics(folder, found)
