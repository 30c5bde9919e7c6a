"""Files are whole or absent, whatever happens to their writer, and the same content is the same bytes."""

import errno
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from interp.errors import DiskFull, InputError
from interp.files import (
    free_bytes,
    human_bytes,
    is_whole,
    json_bytes,
    list_names,
    read_json,
    sweep_leftovers,
    torch_bytes,
    write_bytes,
    write_json,
    write_many,
    write_tensors,
    write_text,
)

SIZE = 3_000_000
WRITE_FOR_EVER = f"""
import itertools, sys
from pathlib import Path
from interp.files import write_bytes
for n in itertools.count():
    write_bytes(Path(sys.argv[1]), bytes([n % 251]) * {SIZE})
"""
NEVER_FINISH = """
import os, sys, time
from pathlib import Path
from interp import files
os.fsync = lambda _: time.sleep(60)
files.write_bytes(Path(sys.argv[1]), b"x" * 1000)
"""


def start(program: str, path: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", program, str(path)])


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def hidden(folder: Path) -> list[Path]:
    return list(folder.rglob(".*"))


def test_a_killed_writer_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    """kill -9 at random moments of a loop that writes the same file again and again."""
    path, draw, leftovers = tmp_path / "x.bin", random.Random(0), 0
    for _ in range(8):
        path.unlink(missing_ok=True)
        writer = start(WRITE_FOR_EVER, path)
        wait_for(path.exists)
        for _ in range(3):
            time.sleep(draw.random() * 0.01)
            content = path.read_bytes()
            assert len(content) == SIZE and len(set(content)) == 1
        writer.kill()
        writer.wait()
        content = path.read_bytes()
        assert len(content) == SIZE and len(set(content)) == 1
        assert list_names(tmp_path) == {"x.bin"}
        left = len(hidden(tmp_path))
        assert sweep_leftovers(tmp_path) == left and hidden(tmp_path) == []
        leftovers += left
    assert leftovers > 0, "no kill ever met a file in the making"


def test_leftovers_are_swept_only_once_their_writer_is_gone(tmp_path: Path) -> None:
    writer = start(NEVER_FINISH, tmp_path / "deep" / "x.bin")
    wait_for(lambda: hidden(tmp_path) and hidden(tmp_path)[0].stat().st_size == 1000)
    try:
        assert sweep_leftovers(tmp_path) == 0 and len(hidden(tmp_path)) == 1
    finally:
        writer.kill()
        writer.wait()
    assert sweep_leftovers(tmp_path) == 1 and hidden(tmp_path) == []
    assert not (tmp_path / "deep" / "x.bin").exists()
    assert sweep_leftovers(tmp_path / "nowhere") == 0


def test_a_later_process_with_the_same_number_does_not_keep_leftovers(tmp_path: Path) -> None:
    writer = start(NEVER_FINISH, tmp_path / "x.bin")
    wait_for(lambda: hidden(tmp_path))
    (leftover,) = hidden(tmp_path)
    writer.kill()
    writer.wait()
    stem, _, started, _ = leftover.name.rsplit(".", 3)
    living = leftover.rename(leftover.with_name(f"{stem}.{os.getpid()}.{started}.tmp"))
    assert sweep_leftovers(tmp_path) == 1 and not living.exists()


def test_leftovers_of_other_machines_and_foreign_files_stay(tmp_path: Path) -> None:
    others = [tmp_path / ".x.json.another-host.1.2.tmp", tmp_path / ".hidden.tmp", tmp_path / "x.tmp"]
    for path in others:
        path.touch()
    assert sweep_leftovers(tmp_path) == 0 and all(path.exists() for path in others)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 kB, where root allows."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if mount is None or subprocess.run([mount, *options], capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_said_and_nothing_is_left_behind(small_disk: Path) -> None:
    write_bytes(small_disk / "old.bin", b"o" * 50_000)
    with pytest.raises(DiskFull, match=r"no room on the disk of .*old\.bin: this file needs 300 kB, .*missing") as full:
        write_bytes(small_disk / "old.bin", b"n" * 300_000)
    assert "\n" not in str(full.value) and full.value.exit_status == 4
    assert (small_disk / "old.bin").read_bytes() == b"o" * 50_000
    assert [path.name for path in small_disk.iterdir()] == ["old.bin"]
    with pytest.raises(DiskFull):
        write_many({small_disk / f"{n}.bin": b"x" * 60_000 for n in range(9)})
    assert hidden(small_disk) == [] and all(len(p.read_bytes()) >= 50_000 for p in small_disk.iterdir())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_every_kind_of_full_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DiskFull, match="free some space or set --root to another disk"):
        write_text(tmp_path / "new" / "x.txt", "text")
    assert list((tmp_path / "new").iterdir()) == []


def test_other_failures_keep_their_own_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="broken disk"):
        write_text(tmp_path / "x.txt", "text")
    assert list(tmp_path.iterdir()) == []


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
