"""The trait vectors that an experiment has, each known by its content."""

from dataclasses import dataclass
from pathlib import Path

from interp.config import Experiment
from interp.errors import InputError
from interp.manifest import file_hash
from interp.vector_store import list_vectors


@dataclass(frozen=True)
class VectorFile:
    """A vector's file and the hash of its content."""

    path: Path
    hash: str

    @property
    def name(self) -> tuple[str, str]:
        """Trait and method."""
        return self.path.parent.name, self.path.stem


def find_vectors(
    experiment: Experiment, traits: list[str] | None = None, methods: list[str] | None = None
) -> list[VectorFile]:
    """The vectors to project on.

    Raises:
        InputError: there are none, or an asked one is missing.
    """
    paths = list_vectors(experiment.paths.vectors, traits, methods)
    if not paths:
        raise InputError(
            f"no trait vectors in {experiment.paths.vectors}: run inference/extract_trait_vectors.py "
            f"--experiment {experiment.name} first"
        )
    return [VectorFile(path, file_hash(path)) for path in paths]
