"""Fixtures for every room, and the environment that libraries read when they are imported."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tiny import build_tiny_model

# Set before torch and vLLM are imported, which happens inside fixtures and tests. Models are so small here that a second
# thread costs more than it does. Without PASSIVE, OpenMP threads of two processes on the same cores spin against each other
# and everything becomes fifty times slower. vLLM runs inside the test process, without a process of its own.
for _name, _value in {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRL_EXPERIMENTAL_SILENCE": "1",
}.items():
    os.environ.setdefault(_name, _value)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: the last file of one process is then short while another has none left."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    """TRL names itself rank 0 of 1 in the environment when it starts vLLM in this process; a command that a later test
    starts must not take that for a launcher and wait at, or collide on, its port."""
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with published benchmark files and grader cases, beside the checkout; the test is skipped without it."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the published data files are absent: ../shared/data")
    return SHARED_DATA


@pytest.fixture(scope="session")
def shared_trials() -> Path:
    """Folder with small data files that are hard to read, beside the checkout; the test is skipped without it."""
    folder = SHARED_DATA.with_name("trials")
    if not folder.is_dir():
        pytest.skip("the files are absent: ../shared/trials")
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Factory `tiny_model(arch="qwen2", tied=True, padded_rows=0)` → folder of a random model; built once a session.

    The folder is shared by all tests: copy it before changing anything in it.
    """
    root = tmp_path_factory.mktemp("tiny-models")

    def make(arch: str = "qwen2", tied: bool = True, padded_rows: int = 0) -> Path:
        folder = root / f"{arch}-{'tied' if tied else 'untied'}-{padded_rows}"
        if not folder.exists():
            build_tiny_model(folder, arch=arch, tied=tied, padded_rows=padded_rows)
        return folder

    return make
