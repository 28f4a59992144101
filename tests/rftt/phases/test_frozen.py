"""Settings are frozen by what was made with them, and by nothing less."""

import pytest

from rftt.config import from_dict
from rftt.errors import UsageError
from rftt.phases.frozen import refuse_changes
from search.journal import Journal


def test_a_phase_that_failed_at_its_start_freezes_nothing(tmp_path):
    before, now = (from_dict({"run": str(tmp_path), "sft": {"batch_size": n}}).to_dict() for n in (8, 16))
    checkpoints = tmp_path / "sft" / "checkpoints"
    checkpoints.mkdir(parents=True)
    assert refuse_changes(tmp_path, before, now) == ["sft.batch_size"]
    (checkpoints / "checkpoint-1").mkdir()
    (checkpoints / "checkpoint-1" / "model.safetensors").touch()
    with pytest.raises(UsageError, match=r"another sft\.batch_size, and its sft depended on it"):
        refuse_changes(tmp_path, before, now)


@pytest.mark.parametrize("folder", ["search", "rounds/1/search"])
def test_a_search_freezes_its_settings_with_its_first_tree(tmp_path, folder):
    before, now = (from_dict({"run": str(tmp_path), "search": {"rollouts": n}}).to_dict() for n in (8, 16))
    journal = Journal(tmp_path / folder / "questions-0.jsonl")
    assert refuse_changes(tmp_path, before, now) == ["search.rollouts"]
    journal.append({"question_id": "q"})
    with pytest.raises(UsageError, match=r"another search\.rollouts, and its search depended on it"):
        refuse_changes(tmp_path, before, now)
