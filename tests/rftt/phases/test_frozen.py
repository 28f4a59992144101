"""Settings are frozen by what was made with them, and by nothing less."""

import pytest

from rftt.config import from_dict
from rftt.errors import UsageError
from rftt.phases.frozen import refuse_changes


def test_a_phase_that_failed_at_its_start_freezes_nothing(tmp_path):
    before, now = (from_dict({"run": str(tmp_path), "sft": {"batch_size": n}}).to_dict() for n in (8, 16))
    checkpoints = tmp_path / "sft" / "checkpoints"
    checkpoints.mkdir(parents=True)
    assert refuse_changes(tmp_path, before, now) == ["sft.batch_size"]
    (checkpoints / "checkpoint-1").mkdir()
    (checkpoints / "checkpoint-1" / "model.safetensors").touch()
    with pytest.raises(UsageError, match=r"another sft\.batch_size, and its sft depended on it"):
        refuse_changes(tmp_path, before, now)
