"""A sweep's folder in a store: whose it is, what is in it, and what a machine with an empty disk takes from it.

Beside the sweep's own files it holds `_manifest.json`, what the lines are made with, created once by whichever task
comes first; a task of another request finds it and ends. So two requests never go on from each other's lines, on no
machine.
"""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.concept_injection.paths import SweepPaths
from experiments.concept_injection.request import SweepRequest
from experiments.concept_injection.settings import claim_of
from interp.errors import SettingsChanged
from interp.files import json_bytes, write_bytes
from interp.manifest import MANIFEST, fingerprint
from interp.records import parse_record
from interp.stores import AlreadyThere, GrowingUpload, NotThere, Store, grown_sizes

VECTORS = "vectors.safetensors"


@dataclass(frozen=True)
class Destination:
    """Where a request's files go in a store. `paths.root` is the disk of whoever works with it."""

    store: Store
    paths: SweepPaths

    @classmethod
    def of(cls, store: Store, request: SweepRequest, root: Path) -> "Destination":
        return cls(store, SweepPaths.of(root, request))

    @property
    def url(self) -> str:
        return self.store.url_of(self.paths.stored("")).rstrip("/")

    def sizes(self) -> dict[str, int]:
        """Every file that is there, whole or growing, without its folder, and its bytes.

        Raises:
            StoreError: it cannot be told what is there.
        """
        prefix = self.paths.stored("")
        return {name.removeprefix(prefix): size for name, size in grown_sizes(self.store, prefix).items()}

    def check(self, request: SweepRequest) -> None:
        """See that what is there, if anything, was begun by this very request.

        Raises:
            SettingsChanged: it was another (names the settings that differ), or nothing says which.
            StoreError: the store cannot be reached or refuses.
        """
        there, names = self._begun_with(), self.sizes()
        if there is None and any(name.endswith(".jsonl") for name in names):
            raise SettingsChanged(
                f"{self.url} holds lines, and nothing says of which request: choose another --experiment-id"
            )
        now = _as_stored(claim_of(request))
        if there is not None and there != now:
            keys = sorted(key for key in there.keys() | now.keys() if there.get(key) != now.get(key))
            changes = "; ".join(f"{key}: {_short(there.get(key))} -> {_short(now.get(key))}" for key in keys)
            raise SettingsChanged(
                f"{self.url} holds a sweep of another request ({changes}); go back to that one, or choose another "
                "--experiment-id"
            )

    def claim(self, request: SweepRequest) -> None:
        """Make the destination this request's, or see that it is already; several tasks may do so at once.

        Raises:
            SettingsChanged: it is another request's; nothing was written.
            StoreError: the store cannot be reached or refuses.
        """
        self.check(request)
        settings = claim_of(request)
        manifest = {"fingerprint": fingerprint(settings), "settings": settings, "numerics": None}
        try:
            self.store.create(self.paths.stored(MANIFEST), json_bytes(manifest))
        except AlreadyThere:
            self.check(request)  # perhaps another task was faster, of this request or of another
        with suppress(AlreadyThere):
            content = json_bytes(request.model_dump(mode="json"))
            self.store.create(self.paths.stored(self.paths.request.name), content)

    def _begun_with(self) -> dict[str, Any] | None:
        """The settings of what is there; of a sweep that was spawned elsewhere, by its request."""
        with suppress(NotThere):
            return dict(json.loads(self.store.read_bytes(self.paths.stored(MANIFEST)))["settings"])
        with suppress(NotThere):
            content = json.loads(self.store.read_bytes(self.paths.stored(self.paths.request.name)))
            return _as_stored(claim_of(parse_record(SweepRequest, content, self.url)))
        return None

    def fetch_finished(self, names: Iterable[str]) -> None:
        """Bring the files that are done, so that no model is loaded for them. Log-odds are stored last of a file."""
        for name in names:
            records, log_odds = self.paths.records(name), self.paths.log_odds(name)
            if self.store.exists(self.paths.stored(log_odds.name)):
                GrowingUpload(self.store, self.paths.stored(records.name), records).fetch()
                write_bytes(log_odds, self.store.read_bytes(self.paths.stored(log_odds.name)))

    def keep_vectors(self) -> None:
        """Store the concept vectors, if this machine made them and no other was faster."""
        path = self.paths.folder / VECTORS
        if path.exists():
            with suppress(AlreadyThere):
                self.store.create(self.paths.stored(path.name), path.read_bytes())

    def is_done(self, names: Sequence[str], sizes: dict[str, int]) -> bool:
        """Whether files are whole, by a listing that `sizes` gave."""
        return all(self.paths.log_odds(name).name in sizes for name in names)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:60]}…{text[-15:]}"


def _as_stored(settings: dict[str, Any]) -> dict[str, Any]:
    """As they come back from JSON, to be compared."""
    stored: dict[str, Any] = json.loads(json.dumps(settings))
    return stored
