"""What steering did, on disk: whole, with where it comes from; anything else is one line."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from interp.errors import InputError
from interp.records import Sampling
from interp.steering_store import (
    RESPONSES,
    STEERED,
    ResponsesProvenance,
    SteeredResponses,
    Steering,
    SteeringProvenance,
    load_responses,
    load_steering,
    read_responses_provenance,
    read_steering_provenance,
    responses_path,
    save_responses,
    save_steering,
    steering_path,
)

PROVENANCE = SteeringProvenance(
    trait="pep", model="org/m", revision=None, identity="i", readout="sentences", items=("Why – ü?",),
    neutral_items=("How?",), vectors={"mean_difference": "abc"}, layers=(2, 5), strengths=(-1.0, 0.0, 0.1), n_random=2,
)  # fmt: skip
ROWS: list[dict[str, Any]] = [
    {"method": None, "direction": None, "layer": None, "strength": 0.0},
    {"method": "mean_difference", "direction": "random-1", "layer": 5, "strength": 0.1},
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    named = [{**row, "text": "shows", "item": 0, "n_tokens": 3, "log_probability": -1 / 3} for row in ROWS]
    save_steering(tmp_path, Steering(pa.Table.from_pylist(named, STEERED), PROVENANCE))
    return steering_path(tmp_path, "pep")


def test_comes_back_as_it_was(path: Path) -> None:
    found = load_steering(path)
    assert found.provenance == PROVENANCE == read_steering_provenance(path)
    rows = found.rows.to_pylist()
    assert [{name: row[name] for name in ROWS[0]} for row in rows] == ROWS
    assert rows[0]["log_probability"] == -1 / 3 and path.parent.name == "pep"


def test_same_rows_same_bytes(path: Path, tmp_path: Path) -> None:
    save_steering(tmp_path / "elsewhere", load_steering(path))
    assert steering_path(tmp_path / "elsewhere", "pep").read_bytes() == path.read_bytes()


def test_anything_else_is_one_line(path: Path) -> None:
    whole = path.read_bytes()
    for content, message in ((whole[:-9], "cannot be read"), (b"", "cannot be read")):
        path.write_bytes(content)
        with pytest.raises(InputError, match=message):
            load_steering(path)
    path.unlink()
    with pytest.raises(InputError, match="steer_with_vectors"):
        load_steering(path)
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(InputError, match="does not say what it was made from"):
        load_steering(path)
    named = pa.table({"a": [1]}).replace_schema_metadata({"provenance": PROVENANCE.model_dump_json()})
    pq.write_table(named, path)
    with pytest.raises(InputError, match="other columns than ours"):
        load_steering(path)


def test_replies_come_back_letter_for_letter_and_are_not_taken_for_scores(path: Path) -> None:
    texts = ("", "é\n| ```\u2028 🙂", "\ufffd\x00\r")
    named = [
        {**where, "item": item, "n_tokens": len(text), "stopped": bool(item), "text": text}
        for where in ROWS
        for item, text in enumerate(texts)
    ]
    made = ResponsesProvenance(
        trait="pep", model="org/m", revision=None, identity="j", questions=("a", "b", "c"), vectors={"m": "abc"},
        layers=(5,), strengths=(0.0, 0.1), n_random=2, sampling=Sampling(temperature=0.7),
    )  # fmt: skip
    folder = path.parent.parent
    save_responses(folder, SteeredResponses(pa.Table.from_pylist(named, RESPONSES), made))
    found = load_responses(responses_path(folder, "pep"))
    assert found.provenance == made == read_responses_provenance(responses_path(folder, "pep"))
    assert found.rows.to_pylist() == named and load_steering(path).provenance == PROVENANCE
    path.write_bytes(responses_path(folder, "pep").read_bytes())
    with pytest.raises(InputError, match="readout"):
        load_steering(path)
