"""One interface on three kinds of store, against servers that answer, fail, refuse, or are not there."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from interp.errors import InputError
from interp.paths import REPOSITORY
from interp.stores import AlreadyThere, NotThere, Retries, Store, StoreError, open_store
from tests.object_stores import FORBIDDEN, KINDS, QUICK, Place, fault, free_port, new_place, set_environment

CLOUDS = KINDS[1:]
WRITES = ("POST", "PUT")
READS = ("GET",)
AWKWARD = "a b/ü+%41&=,~(1).jsonl"


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return new_place(request.param, tmp_path, monkeypatch)


@pytest.fixture(params=CLOUDS)
def cloud(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return new_place(request.param, tmp_path, monkeypatch)


# --- What a store does ------------------------------------------------------------------------------------------------


def test_what_is_created_is_there_is_listed_and_is_read(place: Place) -> None:
    store = place.open()
    contents = {
        "fear.jsonl": b"{}\n",
        "fear.jsonl.parts/a": b"\r\n\0\xff--\n\n",
        "fearful": b"",
        AWKWARD: b"x" * 70_000,
    }
    assert store.list() == {} and not store.exists("fear.jsonl")
    for name, data in contents.items():
        store.create(name, data)
    assert store.list() == {name: len(contents[name]) for name in sorted(contents)}
    assert set(store.list("fear.jsonl")) == {"fear.jsonl", "fear.jsonl.parts/a"}
    assert set(store.list("fear.jsonl.parts/")) == {"fear.jsonl.parts/a"} and store.list("a b/") == {AWKWARD: 70_000}
    assert {name: store.read_bytes(name) for name in contents} == contents
    assert all(store.exists(name) for name in contents)


def test_the_beginning_of_a_name_is_not_there(place: Place) -> None:
    store = place.open()
    store.create("exp/fear.jsonl", b"1")
    assert not store.exists("exp/fear") and not store.exists("exp") and not store.exists("exp/fear.jsonl.parts")
    with pytest.raises(NotThere, match=r"exp/fear\b"):
        store.read_bytes("exp/fear")


def test_stores_with_one_bucket_and_other_prefixes_do_not_meet(place: Place) -> None:
    place.open().create("a", b"1")
    assert open_store(place.url + "/a", QUICK).list() == {} if place.kind != "folder" else True
    assert open_store(place.url[:-1] if place.kind != "folder" else place.url + "x", QUICK).list() == {}
    open_store(place.url + "/deeper/still/", QUICK).create("b", b"22")
    assert place.open().list() == {"a": 1, "deeper/still/b": 2}


def test_what_is_there_is_never_replaced(place: Place) -> None:
    store = place.open()
    store.create("a", b"first")
    for data in (b"second", b"first"):
        with pytest.raises(AlreadyThere, match="never replaced"):
            store.create("a", data)
    assert store.read_bytes("a") == b"first"


def test_of_sixteen_writers_one_wins(place: Place) -> None:
    store = place.open()
    contents = [f"writer {i} ".encode() * 500 for i in range(16)]

    def won(data: bytes) -> bool:
        try:
            store.create("race", data)
        except AlreadyThere:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        winners = [data for data, first in zip(contents, pool.map(won, contents), strict=True) if first]
    assert winners == [store.read_bytes("race")]


def test_a_large_object_is_whole(cloud: Place) -> None:
    """Above 8 MB Google's library sends pieces in a session; the condition holds for the whole."""
    store, data = cloud.open(), os.urandom(1 << 20) * 9
    store.create("large", data)
    assert store.read_bytes("large") == data
    with pytest.raises(AlreadyThere):
        store.create("large", data[1:])


# --- Failures that pass -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [503, 429, 500, 0])
def test_failures_that_pass_are_not_noticed(cloud: Place, status: int) -> None:
    store = cloud.open()
    cloud.fail(*[fault(status, *WRITES)] * 3)
    store.create("a", b"data")
    assert len(cloud.log()) == 4
    cloud.fail(fault(status, *READS), fault(status, *READS))
    assert store.exists("a")
    cloud.fail(fault(status, *READS))
    assert store.list() == {"a": 4}
    cloud.fail(fault(status, *READS))
    assert store.read_bytes("a") == b"data"


@pytest.mark.parametrize("status", [503, 0])
def test_a_lost_answer_to_a_write_that_was_carried_out_is_success(cloud: Place, status: int) -> None:
    store = cloud.open()
    cloud.fail(fault(status, *WRITES, after=True), fault(status, *READS))
    store.create("a", b"data")
    assert store.list() == {"a": 4}


def test_a_lost_answer_does_not_hide_that_somebody_else_was_first(cloud: Place) -> None:
    store = cloud.open()
    store.create("a", b"theirs")
    cloud.fail(fault(503, *WRITES))
    with pytest.raises(AlreadyThere):
        store.create("a", b"ours")
    assert store.read_bytes("a") == b"theirs"


def test_failures_that_do_not_pass_end_in_one_line_and_leave_nothing(cloud: Place) -> None:
    store = cloud.open()
    cloud.fail(*[fault(503, *WRITES)] * 4)
    with pytest.raises(StoreError, match=r"writing \S+/a failed 4 times, at last with HTTP 503.*run the same command"):
        store.create("a", b"data")
    assert len(cloud.log()) == 4
    assert store.list() == {}


def test_waits_grow_and_are_bounded() -> None:
    retries = Retries(first_seconds=1.0, longest_seconds=20.0)
    for failures, longest in ((1, 1.0), (2, 2.0), (3, 4.0), (9, 20.0), (900, 20.0)):
        drawn = [retries.wait_seconds(failures) for _ in range(200)]
        assert longest / 2 <= min(drawn) < max(drawn) <= longest


# --- Failures that stay: never taken for absence ----------------------------------------------------------------------


def every_failure(store: Store) -> list[str]:
    """What each operation says, all of them having failed."""
    said = []
    for act in (store.exists, store.read_bytes, store.list, lambda name: store.create(name, b"data")):
        with pytest.raises(StoreError) as caught:
            act("a")
        assert type(caught.value) is StoreError and caught.value.exit_status == 7
        assert "\n" not in str(caught.value) and "testing-secret-9" not in str(caught.value)
        said.append(str(caught.value))
    return said


def test_a_server_that_is_not_there_is_an_error(cloud: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(cloud.kind, f"http://127.0.0.1:{free_port()}", monkeypatch)
    assert all("failed 4 times" in line and "check the network" in line for line in every_failure(cloud.open()))


def test_a_missing_bucket_is_an_error(cloud: Place) -> None:
    assert all("no such bucket" in line and "nowhere" in line for line in every_failure(cloud.other_bucket("nowhere")))


def test_a_forbidden_bucket_is_an_error_at_once(cloud: Place) -> None:
    store = cloud.other_bucket(FORBIDDEN)
    cloud.fail()
    assert all("not allowed (HTTP 403" in line and "set " in line for line in every_failure(store))
    assert len(cloud.log()) == 4


def test_a_folder_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert all(
        "Not a directory" in line and "check" in line for line in every_failure(open_store(str(tmp_path / "file")))
    )


def test_a_file_system_without_hard_links_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(StoreError, match=r"Operation not permitted; .*hard links"):
        open_store(str(tmp_path)).create("a", b"data")
    assert list(tmp_path.iterdir()) == []


def test_without_credentials_the_error_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STORAGE_EMULATOR_HOST", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "no key"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with pytest.raises(StoreError, match="set GOOGLE_APPLICATION_CREDENTIALS"):
        open_store("gs://results")
    with pytest.raises(StoreError, match="set AWS_ACCESS_KEY_ID"):
        open_store("s3://results").exists("a")


# --- Addresses and names ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["", " ", "http://host/a", "gs:/results", "gs://", "gs:///a", "gs://Results/a", "s3://re sults", "gs://b/a",
     "s3:results", "s3://results/../a", "gs://results//a", "gs://results/a?b", "file://host/a", "file:relative", "file:///"],
)  # fmt: skip
def test_what_is_no_store_is_refused(url: str) -> None:
    with pytest.raises(InputError, match=r"gs://bucket/prefix|relative path|file:///folder"):
        open_store(url)


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(InputError) as caught:
        open_store("s3://AKIA:hunter2@results/a")
    assert "environment" in str(caught.value) and "hunter2" not in str(caught.value)


def test_a_folder_may_be_given_as_a_path_or_as_an_address(tmp_path: Path) -> None:
    open_store(f"file://{tmp_path}/a%20b").create("x", b"1")
    assert open_store(str(tmp_path / "a b")).list() == {"x": 1} and (tmp_path / "a b" / "x").read_bytes() == b"1"


@pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", "../a", "a/./b", ".a", "a\\b", "a\nb", "a\0", "é" * 460])
def test_names_that_not_every_store_can_hold_are_refused(place: Place, name: str) -> None:
    store = place.open()
    for act in (store.exists, store.read_bytes, lambda given: store.create(given, b"data")):
        with pytest.raises(InputError, match="name"):
            act(name)


def test_what_a_killed_writer_leaves_in_a_folder_is_no_object_and_goes(tmp_path: Path) -> None:
    program = (
        "import os, sys; from interp.stores import open_store; os.link = lambda *_: os.kill(os.getpid(), 9); "
        "open_store(sys.argv[1]).create('deep/a', b'data')"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=REPOSITORY, check=False)
    assert done.returncode == -9 and len(list((tmp_path / "deep").iterdir())) == 1
    assert open_store(str(tmp_path)).list() == {} and list((tmp_path / "deep").iterdir()) == []


def test_to_import_it_loads_no_client_and_no_torch() -> None:
    program = (
        "import sys, interp.stores; print(sorted({'torch', 'google.cloud', 'botocore', 'requests'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
