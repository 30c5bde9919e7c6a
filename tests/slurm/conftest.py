"""A real SLURM cluster for the tests of slurm/; they are skipped where there is none and none can be installed."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slurm)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """An empty directory whose name leaves room for those of sockets; tmp_path's does not."""
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp") as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two nodes with 8 CPUs and 4 GPUs each. Shared: restore what you crash, wait for what you submit."""
    started = new_cluster(first_port=16000)
    yield started
    started.purge()


@pytest.fixture
def lone_cluster() -> Iterator[Cluster]:
    """The same, for one test, which may stop it."""
    started = new_cluster(first_port=24000)
    yield started
    started.purge()


def new_cluster(first_port: int) -> Cluster:
    """A cluster of its own: in a new directory with a short name (sockets), on ports that depend on the process."""
    directory = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    cluster = Cluster(directory, port=first_port + os.getpid() % 700 * 10, nodes=2, cpus=8, gpus=4)
    try:
        cluster.start()
    except RuntimeError as error:
        cluster.purge()
        shutil.rmtree(directory, ignore_errors=True)
        required = os.geteuid() == 0 or os.environ.get("SLURM_TESTS") == "require"
        (pytest.fail if required else pytest.skip)(str(error))
    return cluster
