"""The sweep on Modal's GPUs: an app with a function per GPU, each of which runs files of a sweep into a store.

Reads   the secrets `huggingface`, `judge` and `result-store`, the volume `concept-injection-weights`
Writes  the store that a call names

Nothing is kept in a container but downloaded weights, on the volume. A container that is lost is replaced by another,
which fetches from the store what was stored and goes on from there.

Example: modal deploy -m experiments.concept_injection.modal_app
"""

import json
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import modal

from experiments.concept_injection import shipped
from interp.paths import REPOSITORY

APP = "concept-injection"
WEIGHTS = "/weights"
SECRETS = ("huggingface", "judge", "result-store")
"""Names of Modal's secrets; each becomes environment variables of the containers. See docs/cloud.md for what is in."""
GOOGLE_KEY = "SERVICE_ACCOUNT_JSON"
"""The variable in which a secret holds the key of a Google service account: the text of its JSON file."""

_THERE = "/root"
_DAY = 24 * 3600

if __name__ == "modal_app":
    raise ImportError("deploy it as a module: modal deploy -m experiments.concept_injection.modal_app")


def with_source(image: modal.Image) -> modal.Image:
    """An image in which this checkout's code and data lie, as they are when the app is deployed."""
    files = frozenset(shipped.shipped_files())
    image = image.add_local_file(REPOSITORY / "requirements.txt", f"{_THERE}/requirements.txt")
    for folder in shipped.FOLDERS:
        unwanted = partial(_is_not_of, files, folder)
        image = image.add_local_dir(REPOSITORY / folder, f"{_THERE}/{folder}", ignore=unwanted)
    return image


def _is_not_of(files: frozenset[str], folder: str, path: Path) -> bool:
    return f"{folder}/{path.as_posix()}" not in files


bare_image = modal.Image.debian_slim(python_version="3.11")
small_image = with_source(bare_image)
sweep_image = with_source(bare_image.uv_pip_install(*shipped.pinned()).env({"HF_HOME": WEIGHTS}))

app = modal.App(APP, include_source=False)

on_gpu = partial(
    app.function,
    image=sweep_image,
    volumes={WEIGHTS: modal.Volume.from_name("concept-injection-weights", create_if_missing=True)},
    secrets=[modal.Secret.from_name(name) for name in SECRETS],
    retries=modal.Retries(max_retries=5, initial_delay=10.0, backoff_coefficient=2.0, max_delay=60.0),
    timeout=_DAY,
    single_use_containers=True,
)


def run(request_json: str, names: Sequence[str], store_url: str, options: Mapping[str, Any]) -> str:
    """Run files of a sweep, in a folder that is new and goes away, into a store.

    Args:
        request_json: a SweepRequest.
        names: of `request.files`.
        options: as `sweep.py`'s parser names them (`upload_every`, `judge`, …), where they differ from its defaults.

    Returns:
        An `Outcome` as JSON. An error that another attempt would not mend is in it; any other is raised, which has
        Modal try again.
    """
    from experiments.concept_injection.request import SweepRequest
    from experiments.concept_injection.spawned import FINAL, Outcome
    from experiments.concept_injection.sweep import build_parser, run_sweep
    from interp.records import parse_record

    with TemporaryDirectory(prefix="sweep-") as folder:
        use_google_key(Path(folder))
        try:
            request = parse_record(SweepRequest, json.loads(request_json), "the request")
            args = build_parser().parse_args([])
            vars(args).update({**options, "store": store_url})
            run_sweep(request, Path(folder) / "root", args, names)
        except FINAL as error:
            return Outcome(files=tuple(names), error=str(error)).model_dump_json()
    return Outcome(files=tuple(names)).model_dump_json()


def use_google_key(folder: Path) -> None:
    """Put the key that a secret brought into a file, where Google's library looks for it."""
    from interp.files import write_text

    if os.environ.get(GOOGLE_KEY):
        path = folder / "google.json"
        write_text(path, os.environ[GOOGLE_KEY])
        os.environ["GOOGLE_APPLICATION_CREDENTIALS"] = str(path)


@on_gpu(gpu="L4")
def run_l4(request_json: str, names: Sequence[str], store_url: str, options: Mapping[str, Any]) -> str:
    """`run` on an L4, 24 GB."""
    return run(request_json, names, store_url, options)


@on_gpu(gpu="A100-40GB")
def run_a100_40gb(request_json: str, names: Sequence[str], store_url: str, options: Mapping[str, Any]) -> str:
    """`run` on an A100, 40 GB."""
    return run(request_json, names, store_url, options)


@on_gpu(gpu="A100-80GB")
def run_a100_80gb(request_json: str, names: Sequence[str], store_url: str, options: Mapping[str, Any]) -> str:
    """`run` on an A100, 80 GB."""
    return run(request_json, names, store_url, options)


@on_gpu(gpu="H100")
def run_h100(request_json: str, names: Sequence[str], store_url: str, options: Mapping[str, Any]) -> str:
    """`run` on an H100, 80 GB."""
    return run(request_json, names, store_url, options)


@app.function(image=small_image)
def code_hash() -> str:
    """The hash of the code and data that this app was deployed with."""
    return shipped.code_hash()
