"""Phase 2: the clean reader reads what every organism wrote, token by token the same.

Reads   inference/<author>/responses/<prompt_set>/<id>.json
Writes  inference/<author>/activations/<prompt_set>/<reader>/<id>.pt

Example: python inference/replay_responses.py --experiment audit-bleachers --response-only --skip-existing
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from inference.options import capture_options, model_phase_parser, read_capture_options, read_experiment
from inference.phases import Phase, run_phase
from inference.units import CaptureOptions, Inventory, Unit, plan_units, reading_settings, response_settings
from interp import cli
from interp.config import Experiment
from interp.errors import InputError, SettingsChanged
from interp.manifest import fingerprint, read_fingerprint
from interp.records import Response, read_record

if TYPE_CHECKING:
    from interp.models import LanguageModel


@dataclass(frozen=True)
class ReplayResponses(Phase):
    """The same forced pass as phase 1's, over the same batches, by another reader."""

    experiment: Experiment
    options: CaptureOptions
    reader: str
    name: str = "replay"

    def folders(self, unit: Unit) -> dict[Path, str]:
        return {self.experiment.paths.activations(*unit.folder_key, self.reader): ".pt"}

    def settings(self, unit: Unit, folder: Path) -> dict[str, object]:
        return reading_settings(self.experiment, unit.author, unit.prompt_set, self.reader, self.options)

    def variant(self, unit: Unit) -> str:
        return self.reader

    def do(self, unit: Unit, model: "LanguageModel", inventory: Inventory) -> None:
        from inference.readings import store_readings

        folder = self.experiment.paths.responses(*unit.folder_key)
        responses = [read_record(Response, folder / f"{prompt.id}.json") for prompt in unit.prompts]
        store_readings(self.experiment, unit, self.reader, responses, model, self.options, inventory)


def replayable(experiment: Experiment, units: Sequence[Unit]) -> list[Unit]:
    """The units whose responses are all there.

    Raises:
        SettingsChanged: responses were made with other settings than those that are asked for now.
    """
    inventory = Inventory()
    complete = []
    for unit in units:
        folder = experiment.paths.responses(*unit.folder_key)
        made_with = read_fingerprint(folder)
        if made_with not in (None, fingerprint(response_settings(experiment, unit.author, unit.prompt_set))):
            raise SettingsChanged(f"{folder} was made with other settings; give this phase those of phase 1")
        if not inventory.missing(folder, unit.prompts, ".json"):
            complete.append(unit)
    return complete


def build_parser() -> argparse.ArgumentParser:
    parser = model_phase_parser(__doc__, [capture_options()], sampling=True)
    parser.add_argument("--reader", help="who reads (default: the config's clean_reader)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    experiment = read_experiment(args)
    reader = experiment.select_variants([args.reader or experiment.config.clean_reader])[0]
    authors = experiment.select_variants(args.model_variant)
    units = args.shard.of(plan_units(experiment, authors, experiment.select_prompt_sets(args.prompt_set)))
    complete = replayable(experiment, units)
    status = run_phase(ReplayResponses(experiment, read_capture_options(args, experiment), reader), complete, args)
    lacking = sorted({unit.author for unit in units if unit not in complete})
    if lacking:
        some = ", ".join(lacking[:5]) + (", …" if len(lacking) > 5 else "")
        raise InputError(
            f"{len(units) - len(complete)} of {len(units)} batches have no complete responses yet ({some}): "
            "finish phase 1 (inference/generate_responses.py), then run this again"
        )
    return status


if __name__ == "__main__":
    cli.run(main)
