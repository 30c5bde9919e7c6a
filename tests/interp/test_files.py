"""The same content is the same bytes, and what is not whole is seen and said."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from interp.errors import InputError
from interp.files import (
    free_bytes,
    human_bytes,
    is_whole,
    json_bytes,
    list_names,
    read_json,
    torch_bytes,
    write_json,
    write_many,
    write_tensors,
    write_text,
)


def test_write_makes_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "x.txt"
    write_text(path, "one")
    write_text(path, "zwei – ü")
    assert path.read_text(encoding="utf-8") == "zwei – ü"
    assert list(path.parent.iterdir()) == [path]


def test_write_many_writes_all(tmp_path: Path) -> None:
    files = {tmp_path / str(n % 3) / f"{n}.bin": bytes([n]) * n for n in range(50)}
    write_many(files)
    assert all(path.read_bytes() == data for path, data in files.items())
    write_many({})


def test_json_bytes(tmp_path: Path) -> None:
    value = {"b": [1, 2.5, None], "a": "ü–", "c": {}}
    assert json_bytes(value) == '{\n "b": [\n  1,\n  2.5,\n  null\n ],\n "a": "ü–",\n "c": {}\n}\n'.encode()
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json") == value == json.loads(json_bytes(value))
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_bytes({"x": float("nan")})


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "does not exist"), (b'{"a": [1, 2', "is not valid JSON"), (b"", "is not valid JSON"), (b"\xff", "JSON")],
)
def test_json_that_cannot_be_read_is_one_line(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as raised:
        read_json(path)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def _parquet_bytes() -> bytes:
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.table({"x": list(range(1000))}), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", [".json", ".pt", ".parquet"])
def test_is_whole_sees_every_cut(tmp_path: Path, suffix: str) -> None:
    content = {
        ".json": json_bytes({"a": {"b": [1, 2]}, "c": {}}),
        ".pt": torch_bytes({"x": torch.zeros(5)}),
        ".parquet": _parquet_bytes(),
    }[suffix]
    path = tmp_path / f"x{suffix}"
    assert not is_whole(path)
    path.write_bytes(content)
    assert is_whole(path)
    for cut in {0, 1, 3, len(content) // 2, *range(len(content) - 30, len(content))}:
        path.write_bytes(content[:cut])
        assert not is_whole(path), cut


def test_tensor_files_have_the_same_bytes_each_time(tmp_path: Path) -> None:
    """Also in another process, with another hash seed, and whatever order the tensors were given in."""
    base = torch.arange(24.0).reshape(4, 6)
    write_tensors(tmp_path / "a.safetensors", {"one": base, "two": base[1:2]}, {"k": "v"})
    write_tensors(tmp_path / "b.safetensors", {"two": base[1:2].clone(), "one": base.clone()}, {"k": "v"})
    program = (
        "import sys, torch; from pathlib import Path; from interp.files import write_tensors;"
        "b = torch.arange(24.0).reshape(4, 6); write_tensors(Path(sys.argv[1]), {'two': b[1:2], 'one': b}, {'k': 'v'})"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    subprocess.run([sys.executable, "-c", program, tmp_path / "c.safetensors"], check=True, env=environment)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    loaded = load_file(tmp_path / "a.safetensors")
    assert torch.equal(loaded["one"], base) and torch.equal(loaded["two"], base[1:2])


def test_tensors_may_be_slices_transposed_or_one_another(tmp_path: Path) -> None:
    whole = torch.randn(1000, 8)
    tensors = {"slice": whole[3:5], "transposed": whole[:6].T, "same": whole[3:5], "graph": whole[:2].requires_grad_()}
    write_tensors(tmp_path / "x.safetensors", tensors)
    loaded = load_file(tmp_path / "x.safetensors")
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())
    assert (tmp_path / "x.safetensors").stat().st_size < 2000


def test_several_metadata_keys_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no fixed order"):
        write_tensors(tmp_path / "x.safetensors", {"x": torch.zeros(1)}, {"a": "1", "b": "2"})


def test_list_names_sees_finished_files_only(tmp_path: Path) -> None:
    for name in ("a.json", ".a.json.host.1.2.tmp", "b.pt"):
        (tmp_path / name).touch()
    assert list_names(tmp_path) == {"a.json", "b.pt"}
    assert list_names(tmp_path / "nowhere") == frozenset()


def test_sizes() -> None:
    assert [human_bytes(n) for n in (0, 999, 1000, 29_500_000, 9.08e11, 5e15)] == [
        "0 B", "999 B", "1 kB", "29.5 MB", "908 GB", "5e+03 TB",
    ]  # fmt: skip


def test_room_is_that_of_the_disk_to_be_written_on(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "not" / "yet") == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.1)
