"""Growing files: no record is lost, doubled or mixed, whoever is killed, fails, or writes to the same place."""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from interp.paths import REPOSITORY
from interp.stores import (
    GrowingUpload,
    NotThere,
    StoreConflict,
    StoreError,
    grown_sizes,
    read_grown,
)
from tests.object_stores import KINDS, Place, fault, free_port, new_place, set_environment

NAME = "exp/3b/fear.jsonl"
WRITES = ("POST", "PUT")


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return new_place(request.param, tmp_path, monkeypatch)


@pytest.fixture(params=KINDS[1:])
def cloud(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return new_place(request.param, tmp_path, monkeypatch)


def records(first: int, last: int, job: str = "a") -> bytes:
    """Lines of one job."""
    return b"".join(
        json.dumps({"id": i, "job": job, "text": "ü" * (i % 7)}).encode() + b"\n" for i in range(first, last)
    )


class Job:
    """One machine's work on a destination."""

    def __init__(self, place: Place, folder: Path, lines: bytes = b"") -> None:
        folder.mkdir()
        self.local = folder / "fear.jsonl"
        if lines:
            self.local.write_bytes(lines)
        self.upload = GrowingUpload(place.open(), NAME, self.local)

    def add(self, lines: bytes) -> None:
        with self.local.open("ab") as file:
            file.write(lines)


# --- One writer -------------------------------------------------------------------------------------------------------


def test_what_is_pushed_is_read_fetched_and_finished(place: Place, tmp_path: Path) -> None:
    job, store = Job(place, tmp_path / "one"), place.open()
    assert (job.upload.fetch(), job.upload.push()) == (0, 0) and store.list() == {} and not job.local.exists()
    with pytest.raises(NotThere):
        read_grown(store, NAME)
    for first in (0, 50, 100):
        job.add(records(first, first + 50))
        assert job.upload.push() == job.upload.push() == len(records(0, first + 50))
        assert read_grown(store, NAME) == records(0, first + 50)
    assert len(store.list()) == 3 and grown_sizes(store, "exp/") == {NAME: len(records(0, 150))}

    fresh = Job(place, tmp_path / "two")
    assert fresh.upload.fetch() == len(records(0, 150)) and fresh.local.read_bytes() == records(0, 150)
    fresh.add(records(150, 160))
    assert fresh.upload.finish() == fresh.upload.finish() == store.list()[NAME]
    assert store.read_bytes(NAME) == read_grown(store, NAME) == records(0, 160)


def test_a_finished_file_can_grow_on_even_without_its_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = new_place("folder", tmp_path, monkeypatch)
    job, store = Job(place, tmp_path / "one", records(0, 5)), place.open()
    job.upload.finish()
    part = next(Path(place.url).rglob("part-*"))
    part.unlink()
    fresh = Job(place, tmp_path / "two")
    assert fresh.upload.fetch() == grown_sizes(store)[NAME] == len(records(0, 5))
    assert fresh.local.read_bytes() == records(0, 5)
    job.add(records(5, 9))
    job.upload.push()
    assert read_grown(store, NAME) == records(0, 9) and grown_sizes(store) == {NAME: len(records(0, 9))}
    with pytest.raises(StoreConflict, match=r"holds .* bytes|two histories"):
        job.upload.finish()
    assert store.read_bytes(NAME) == records(0, 5)


def test_a_torn_last_line_is_not_stored_and_not_resumed_from(place: Place, tmp_path: Path) -> None:
    job = Job(place, tmp_path / "one", records(0, 3) + b'{"id": 3, "jo')
    assert job.upload.push() == len(records(0, 3)) and read_grown(place.open(), NAME) == records(0, 3)
    again = GrowingUpload(place.open(), NAME, job.local)
    again.fetch()
    assert job.local.read_bytes() == records(0, 3)
    job.add(b'{"id"')
    assert again.push() == len(records(0, 3))
    job.add(b": 3}\n")
    again.push()
    assert read_grown(place.open(), NAME) == records(0, 3) + b'{"id": 3}\n'


def test_fetching_keeps_what_was_not_pushed_yet(place: Place, tmp_path: Path) -> None:
    job = Job(place, tmp_path / "one", records(0, 3))
    job.upload.push()
    job.add(records(3, 5) + b"{")
    again = GrowingUpload(place.open(), NAME, job.local)
    assert again.fetch() == len(records(0, 3)) and job.local.read_bytes() == records(0, 5)
    assert again.push() == len(records(0, 5))


def test_the_example_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (REPOSITORY / "docs" / "stores.md").read_text(encoding="utf-8")
    example = page.partition("```python\n")[2].partition("```")[0]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fear.jsonl").write_bytes(records(0, 3))
    exec(example.replace("gs://my-results/introspection", "results"), {})
    assert (tmp_path / "results/sweep-1/3b/fear.jsonl").read_bytes() == records(0, 3)


# --- Shorter, changed, other histories --------------------------------------------------------------------------------


def test_shorter_never_replaces_longer(place: Place, tmp_path: Path) -> None:
    Job(place, tmp_path / "long", records(0, 9)).upload.push()
    for count in (0, 4):
        short = Job(place, tmp_path / f"short{count}", records(0, count))
        for act in (short.upload.push, short.upload.finish):
            with pytest.raises(StoreConflict, match=r"holds 438 bytes, \S+ only the first .* fetch before going on"):
                act()
        assert read_grown(place.open(), NAME) == records(0, 9)
        assert short.upload.fetch() == len(records(0, 9)) and short.local.read_bytes() == records(0, 9)


def test_two_histories_are_an_error_that_names_both_and_both_stay(place: Place, tmp_path: Path) -> None:
    Job(place, tmp_path / "one", records(0, 9)).upload.push()
    lines = records(0, 4) + records(4, 20, "b")
    other = Job(place, tmp_path / "other", lines)
    for act in (other.upload.push, other.upload.fetch, other.upload.finish):
        with pytest.raises(StoreConflict) as caught:
            act()
        said = str(caught.value)
        assert str(other.local) in said and f"{place.url}/{NAME}" in said and "from line 5 on" in said
    assert other.local.read_bytes() == lines and read_grown(place.open(), NAME) == records(0, 9)


def test_a_local_file_that_lost_lines_is_not_sent(place: Place, tmp_path: Path) -> None:
    job = Job(place, tmp_path / "one", records(0, 9))
    job.upload.push()
    for changed in (records(0, 5), records(0, 4, "b") + records(4, 20), b""):
        job.local.write_bytes(changed)
        with pytest.raises(StoreConflict, match="lost or changed lines"):
            job.upload.push()
        assert job.local.read_bytes() == changed
    assert read_grown(place.open(), NAME) == records(0, 9)


def test_two_jobs_with_one_destination_never_mix(place: Place, tmp_path: Path) -> None:
    """Interleaved at random: the first to push goes on alone, the other is told at each of its pushes."""
    for seed in range(2):
        draw, folder = random.Random(seed), tmp_path / str(seed)
        folder.mkdir()
        here = Place(place.kind, f"{place.url}/{seed}")
        jobs, told, at = {name: Job(here, folder / name) for name in "ab"}, set(), dict.fromkeys("ab", 0)
        for _ in range(12):
            name = draw.choice("ab")
            jobs[name].add(records(at[name], at[name] + 3, name))
            at[name] += 3
            try:
                jobs[name].upload.push()
            except StoreConflict:
                told.add(name)
        stored = [json.loads(line) for line in read_grown(here.open(), NAME).splitlines()]
        (winner,) = {record["job"] for record in stored}
        assert told == {"a", "b"} - {winner} and [record["id"] for record in stored] == list(range(at[winner]))
        assert all(jobs[name].local.read_bytes() == records(0, at[name], name) for name in "ab")


def test_two_jobs_that_write_the_same_records_share_one_history(place: Place, tmp_path: Path) -> None:
    one, other = Job(place, tmp_path / "one", records(0, 4)), Job(place, tmp_path / "other", records(0, 7))
    one.upload.push()
    other.upload.finish()  # one object, of which the first job knows the beginning
    one.add(records(4, 9))
    one.upload.push()
    assert read_grown(place.open(), NAME) == records(0, 9)


RACER = """
import sys
from pathlib import Path
from interp.stores import GrowingUpload, Retries, StoreConflict, open_store
url, name, folder, job, count = sys.argv[1:]
local = Path(folder) / f"{job}.jsonl"
upload = GrowingUpload(open_store(url, Retries(attempts=8, first_seconds=0.01)), name, local)
print("ready", flush=True)
sys.stdin.readline()
for i in range(int(count)):
    with local.open("a") as file:
        file.write(f'{{"id": {i}, "job": "{job}"}}\\n')
    try:
        upload.push()
    except StoreConflict:
        sys.exit(9)
"""


def test_of_four_processes_that_race_one_stores_all_of_its_records(place: Place, tmp_path: Path) -> None:
    processes = [start(RACER, place.url, NAME, str(tmp_path), job, "15") for job in "abcd"]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    statuses = [(process.communicate(timeout=60), process.returncode)[1] for process in processes]
    assert sorted(statuses) == [0, 9, 9, 9]
    stored = [json.loads(line) for line in read_grown(place.open(), NAME).splitlines()]
    assert stored == [{"id": i, "job": "abcd"[statuses.index(0)]} for i in range(15)]


# --- Stores that fail -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True])
def test_a_push_that_fails_for_good_is_made_up_for_by_the_next(cloud: Place, tmp_path: Path, after: bool) -> None:
    """Also when the write was carried out and only its answer was lost, each time."""
    job = Job(cloud, tmp_path / "one", records(0, 4))
    cloud.fail(*[fault(503, *WRITES, after=after)] * 4)
    with pytest.raises(StoreError, match="failed 4 times"):
        job.upload.push()
    assert job.local.read_bytes() == records(0, 4)
    cloud.fail()
    assert grown_sizes(cloud.open()) == ({NAME: len(records(0, 4))} if after else {})
    job.add(records(4, 6))
    assert job.upload.push() == len(records(0, 6))
    assert read_grown(cloud.open(), NAME) == records(0, 6)


def test_faults_at_random_lose_nothing(cloud: Place, tmp_path: Path) -> None:
    draw, job = random.Random(5), Job(cloud, tmp_path / "one")
    for i in range(15):
        job.add(records(i, i + 1))
        statuses = [draw.choice([503, 429, 0]) for _ in range(draw.randrange(6))]
        cloud.fail(*[fault(status, draw.choice(["GET", *WRITES]), after=draw.random() < 0.5) for status in statuses])
        try:
            job.upload.push()
        except StoreError as error:
            assert type(error) is StoreError
    cloud.fail()
    job.upload.push()
    assert read_grown(cloud.open(), NAME) == records(0, 15)


def test_an_unreachable_store_leaves_the_local_file(
    cloud: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(cloud.kind, f"http://127.0.0.1:{free_port()}", monkeypatch)
    job = Job(cloud, tmp_path / "one", records(0, 4) + b"{")
    for act in (job.upload.fetch, job.upload.push):
        with pytest.raises(StoreError, match="check the network"):
            act()
    assert job.local.read_bytes() == records(0, 4) + b"{"


def test_parts_that_were_removed_are_sent_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = new_place("folder", tmp_path, monkeypatch)
    job = Job(place, tmp_path / "one")
    for i in range(3):
        job.add(records(i, i + 1))
        job.upload.push()
    first, *_, last = sorted(Path(place.url).rglob("part-*"))
    last.unlink()
    job.add(records(3, 4))
    job.upload.push()
    assert read_grown(place.open(), NAME) == records(0, 4)
    first.unlink()
    for act in (job.upload.push, job.upload.fetch, lambda: grown_sizes(place.open())):
        with pytest.raises(StoreError, match="follows on nothing: what is before it ends at byte 0; restore"):
            act()


@pytest.mark.parametrize("damage", [b"", b"\n", b'{"id": 0'])
def test_parts_that_were_damaged_are_an_error(damage: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = new_place("folder", tmp_path, monkeypatch)
    Job(place, tmp_path / "one", records(0, 4)).upload.push()
    next(Path(place.url).rglob("part-*")).write_bytes(damage)
    other = Job(place, tmp_path / "two", records(0, 4))
    for act in (other.upload.push, other.upload.finish):
        with pytest.raises(StoreError):
            act()
    assert other.local.read_bytes() == records(0, 4)


# --- Killed at any moment ---------------------------------------------------------------------------------------------

WRITER = """
import json, sys, time
from pathlib import Path
from interp.stores import GrowingUpload, Retries, open_store
url, name, local, machine, count = sys.argv[1:]
upload = GrowingUpload(open_store(url, Retries(first_seconds=0.01)), name, Path(local))
upload.fetch()
print("fetched", flush=True)
Path(local).touch()
with Path(local).open("r+b", buffering=0) as file:
    done = len(file.readlines())
    for i in range(done, int(count)):
        line = json.dumps({"id": i, "machine": machine}).encode() + b"\\n"
        file.write(line[:9])
        time.sleep(0.003)
        file.write(line[9:])
        if i % 3 == 0:
            upload.push()
upload.finish()
"""


def start(program: str, *args: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, *args]
    return subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_killed_at_random_and_resumed_here_or_elsewhere_it_ends_with_exactly_the_records(
    place: Place, tmp_path: Path
) -> None:
    """Every run resumes on the last machine, or on a new one with an empty disk; what is stored only ever grows."""
    draw, count, seen, machine, kills = random.Random(3), 120, b"", 0, 0
    while True:
        machine += draw.random() < 0.5
        process = start(WRITER, place.url, NAME, str(tmp_path / f"machine{machine}.jsonl"), str(machine), str(count))
        assert process.stdout is not None and process.stdout.readline() == "fetched\n"
        try:
            process.wait(draw.uniform(0.0, 0.25) if kills < 6 else 60)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
        stored = read_grown(place.open(), NAME) if grown_sizes(place.open()) else b""
        assert stored.startswith(seen)
        seen = stored
        if process.returncode != -signal.SIGKILL:
            break
    assert process.returncode == 0 and kills
    assert [json.loads(line)["id"] for line in stored.splitlines()] == list(range(count))
    assert place.open().read_bytes(NAME) == stored
