"""Where a sweep's files lie: `<root>/concept_injection/<experiment id>/<model>/`."""

from dataclasses import dataclass
from pathlib import Path

from experiments.concept_injection.request import SweepRequest

STUDY = "concept_injection"


@dataclass(frozen=True)
class SweepPaths:
    """The files of one sweep over one model."""

    root: Path
    experiment_id: str
    model_name: str

    @classmethod
    def of(cls, root: Path, request: SweepRequest) -> "SweepPaths":
        return cls(root, request.experiment_id, request.model_name)

    @property
    def folder(self) -> Path:
        return self.root / STUDY / self.experiment_id / self.model_name

    @property
    def request(self) -> Path:
        return self.folder / "request.json"

    @property
    def leases(self) -> Path:
        """Which file a worker has in hand; there only while it has."""
        return self.folder / "leases"

    def records(self, name: str) -> Path:
        """The trials of a concept, or of the control."""
        return self.folder / f"{name}.jsonl"

    def log_odds(self, name: str) -> Path:
        return self.folder / f"{name}.log_odds.jsonl"

    def stored(self, name: str) -> str:
        """A file's name in a result store."""
        return f"{self.experiment_id}/{self.model_name}/{name}"
