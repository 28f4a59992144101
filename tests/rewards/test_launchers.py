"""The grader where training programs call it: in DataLoader workers and on every rank of a distributed run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAIRS = [
    ("\\frac12", "\\boxed{0.5}", "correct"),
    ("7", "\\boxed{8}", "wrong"),
    ("\\sin^2 x+\\cos^2 x", "\\boxed{1}", "correct"),  # decided in a worker process
    ("2", "\\boxed{9^{9^{9^9}}}", "wrong"),
    ("7", "seven", "no_answer"),
]
EXPECTED = [status for _, _, status in PAIRS]

IN_A_LOADER = """
import json, sys
from torch.utils.data import DataLoader
from rewards import grade

class Graded:
    def __init__(self, pairs):
        self.pairs = pairs
    def __len__(self):
        return len(self.pairs)
    def __getitem__(self, i):
        gold, text, _ = self.pairs[i]
        return grade(gold, text).status

if __name__ == "__main__":
    graded = Graded(json.loads(sys.argv[2]))
    graded[2]  # starts a worker of the parent, which must not serve its children
    loader = DataLoader(graded, num_workers=2, batch_size=1, multiprocessing_context=sys.argv[1])
    print(json.dumps([[status for [status] in loader]]))
"""

ON_EVERY_RANK = """
import json, sys
import torch.distributed as dist
from rewards import grade_many

dist.init_process_group("gloo")
found = [v.status for v in grade_many((gold, text) for gold, text, _ in json.loads(sys.argv[1]))]
everyone = [None] * dist.get_world_size()
dist.all_gather_object(everyone, found)
if dist.get_rank() == 0:
    print(json.dumps(everyone))
dist.destroy_process_group()
"""


def printed(script: str, folder: Path, *arguments: str, launcher: tuple[str, ...] = ()) -> list[list[str]]:
    """What the script prints last, read as JSON."""
    path = folder / "script.py"
    path.write_text(script)
    done = subprocess.run(
        [sys.executable, *launcher, str(path), *arguments, json.dumps(PAIRS)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_in_the_workers_of_a_data_loader(method: str, tmp_path: Path) -> None:
    assert printed(IN_A_LOADER, tmp_path, method) == [EXPECTED]


def test_on_every_rank_of_a_distributed_run(tmp_path: Path) -> None:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    assert printed(ON_EVERY_RANK, tmp_path, launcher=launcher) == [EXPECTED, EXPECTED]
