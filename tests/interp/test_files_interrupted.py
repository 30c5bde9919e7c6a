"""Files are whole or absent, whatever happens to their writer or their disk."""

import errno
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

from interp.errors import DiskFull
from interp.files import list_names, sweep_leftovers, write_bytes, write_many, write_text

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


def test_a_folder_that_another_process_removes_meanwhile_has_no_leftovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanish(path: Path) -> object:
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "scandir", vanish)
    assert sweep_leftovers(tmp_path) == 0


def test_a_leftover_of_another_machine_goes_after_a_day(tmp_path: Path) -> None:
    leftover = tmp_path / ".x.json.node17.123.456.tmp"
    leftover.touch()
    assert sweep_leftovers(tmp_path) == 0
    os.utime(leftover, (time.time() - 90_000,) * 2)
    assert sweep_leftovers(tmp_path) == 1 and not leftover.exists()
