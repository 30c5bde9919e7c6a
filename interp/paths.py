"""Where everything lies. Every file name of a run is a property or method of one object."""

import os
from dataclasses import dataclass
from pathlib import Path

from interp.errors import InputError

REPOSITORY = Path(__file__).resolve().parent.parent
DATASETS = REPOSITORY / "datasets"
OWN_READER = "self"


def default_root() -> Path:
    """`$INTERP_ROOT`, else the repository's `experiments/`."""
    return Path(os.environ.get("INTERP_ROOT") or REPOSITORY / "experiments").resolve()


@dataclass(frozen=True)
class ExperimentPaths:
    """The files of one experiment: what it is given in `home`, what it makes in `folder` (often the same place)."""

    root: Path
    experiment: str

    @property
    def folder(self) -> Path:
        return self.root / self.experiment

    @property
    def home(self) -> Path:
        """The folder of config.json: under the root, else in the repository.

        Raises:
            InputError: neither has it; lists the experiments that exist.
        """
        places = [self.folder, REPOSITORY / "experiments" / self.experiment]
        for place in places:
            if (place / "config.json").is_file():
                return place
        known = sorted({path.parent.name for place in places for path in place.parent.glob("*/config.json")})
        raise InputError(
            f"no experiment {self.experiment!r} in {self.root}; there are: {', '.join(known) or 'none yet'}"
            " (the embedded default is made by `python -m experiments.planted_quirks.build`)"
        )

    @property
    def config(self) -> Path:
        return self.home / "config.json"

    def prompt_set(self, name: str) -> Path:
        return self._own_or_shared("prompts", name)

    def trait(self, name: str) -> Path:
        return self._own_or_shared("traits", name)

    @property
    def trait_names(self) -> list[str]:
        """The traits of the experiment itself, else those of `datasets/traits`."""
        own = sorted(path.stem for path in (self.home / "traits").glob("*.json"))
        return own or sorted(path.stem for path in (DATASETS / "traits").glob("*.json"))

    @property
    def vectors(self) -> Path:
        return self.folder / "vectors"

    @property
    def analysis(self) -> Path:
        return self.folder / "analysis"

    @property
    def inference(self) -> Path:
        return self.folder / "inference"

    @property
    def leases(self) -> Path:
        """What workers have in hand; there only while they are."""
        return self.folder / "leases"

    @property
    def jobs(self) -> Path:
        """What was submitted to a scheduler, and its logs."""
        return self.folder / "jobs"

    def responses(self, author: str, prompt_set: str) -> Path:
        return self.inference / author / "responses" / prompt_set

    def activations(self, author: str, prompt_set: str, reader: str) -> Path:
        return self.inference / author / "activations" / prompt_set / reader

    def verdicts(self, author: str, prompt_set: str) -> Path:
        """What judges said of an author's responses, a file per rubric and judge."""
        return self.inference / author / "verdicts" / prompt_set

    def projections(self, author: str, prompt_set: str, reader: str) -> Path:
        """The Parquet file of token scores; norms lie beside it."""
        return self.inference / author / "projections" / prompt_set / f"{reader}.parquet"

    def norms(self, author: str, prompt_set: str, reader: str) -> Path:
        return self.inference / author / "projections" / prompt_set / f"{reader}.norms.parquet"

    def _own_or_shared(self, kind: str, name: str) -> Path:
        own = self.home / kind / f"{name}.json"
        shared = DATASETS / kind / f"{name}.json"
        for path in (own, shared):
            if path.is_file():
                return path
        known = sorted(
            str(path.relative_to(folder).with_suffix(""))
            for folder in (self.home / kind, DATASETS / kind)
            for path in folder.rglob("*.json")
        )
        raise InputError(f"no {kind.removesuffix('s')} file {name!r}; there are: {', '.join(known) or 'none'}")
