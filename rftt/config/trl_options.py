"""Options of TRL's ``SFTConfig`` and ``GRPOConfig``, checked by name and type without importing TRL.

Names, types and choices are read from the sources of the installed packages, so that a slip shows before hours of search.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import lru_cache
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

from rftt.config.messages import shown
from rftt.config.written import number

TRAINING = ("transformers", "training_args.py")
SCALARS = frozenset({"int", "float", "bool"})
# Option of `GRPOConfig` → where the same thing is said here.
OURS: dict[str, str] = {
    "num_generations": "set rl.rollouts",
    "generation_batch_size": "set rl.questions_per_step and rl.rollouts",
    "output_dir": "checkpoints stand in the run folder; set run",
    "resume_from_checkpoint": "a run goes on from its last whole checkpoint by itself",
    "seed": "set seed",
    "data_seed": "set seed",
    "reward_weights": "set rl.wrong_reward and rl.format_reward",
    "shuffle_dataset": "set rl.question_order",
    "mask_truncated_completions": "set rl.truncated",
    "scale_rewards": "set rl.advantage; grpo divides by the spread of a group, dr_grpo does not",
    "trust_remote_code": "set model.trust_remote_code",
}
# Option of `GRPOConfig` → the only value that the search can honour, and why.
FIXED: dict[str, tuple[Any, str]] = {
    "temperature": (1.0, "samples must come from the policy whose log-probs are trained"),
    "top_p": (1.0, "samples must come from the policy whose log-probs are trained"),
    "top_k": (0, "samples must come from the policy whose log-probs are trained"),
    "min_p": (None, "samples must come from the policy whose log-probs are trained"),
    "repetition_penalty": (1.0, "samples must come from the policy whose log-probs are trained"),
    "generation_kwargs": (None, "the search decides how steps are sampled"),
    "vllm_structured_outputs_regex": (None, "samples must come from the policy whose log-probs are trained"),
    "cache_implementation": (None, "the search has an engine of its own"),
    "transformers_continuous_batching_config": (None, "set engine.name to vllm or transformers"),
    "multi_objective_aggregation": ("sum_then_normalize", "rl.advantage credits the sum of the rewards"),
    "use_liger_kernel": (False, "TRL gives it up, and the reference would compute without its kernels"),
    "eval_strategy": ("no", "held-out questions are measured by `rftt eval`"),
    "chat_template_kwargs": (None, "search, training and evaluation share one prompt"),
    "use_transformers_continuous_batching": (False, "set engine.name to vllm or transformers"),
    "use_transformers_paged": (False, "set engine.name to vllm or transformers"),
    "vllm_mode": ("colocate", "the search needs the engine in this process"),
    "vllm_tensor_parallel_size": (1, "each rank searches on an engine of its own"),
    "ds3_gather_for_generation": (True, "each rank searches questions of its own, at its own pace"),
    "remove_unused_columns": (False, "the reward needs the column answer"),
    "auto_find_batch_size": (False, "groups must stay whole; lower per_device_train_batch_size"),
}


@lru_cache(maxsize=2)
def option_types(trl: str) -> Mapping[str, str]:
    """Options of TRL's ``SFTConfig`` (`sft`) or ``GRPOConfig`` (`grpo`) → their types as the source has them."""
    types: dict[str, str] = {}
    for node in _classes(("trl", f"trainer/{trl}_config.py"), ("trl", "trainer/base_config.py"), TRAINING):
        if node.name.endswith(("Config", "Arguments")):
            for line in node.body:
                if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                    types.setdefault(line.target.id, ast.unparse(line.annotation))
    return types


def trainer_options(trl: str) -> frozenset[str]:
    """Names of the options of TRL's ``SFTConfig`` (`sft`) or ``GRPOConfig`` (`grpo`)."""
    return frozenset(option_types(trl))


def check_option(trl: str, key: str, value: Any) -> str | None:
    """What is wrong with the value of an option; None where it may be right.

    Numbers, truth values and names of a choice are checked; what may be a text or a mapping of any kind is left to TRL.

    Args:
        trl: ``sft`` or ``grpo``.
        key: name of the option, which is known.
        value: value as YAML has it.
    """
    value = number(value)
    kinds = [kind.strip() for kind in option_types(trl)[key].split("|")]
    if choices := next((_choices()[kind] for kind in kinds if kind in _choices()), None):
        if value in choices:
            return None
        close = get_close_matches(str(value), choices, n=1)
        hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(choices)}"
        return f"is {shown(value)}; {hint}"
    if not set(kinds) <= {*SCALARS, "None"} or _fits(value, kinds):
        return None
    return f"is {shown(value)}, expected {' or '.join(kind for kind in kinds if kind != 'None')}"


def check_grpo_option(key: str, value: Any) -> str | None:
    """Why an option of ``GRPOConfig`` cannot be set so in RL; None where it can. Arguments as of `check_option`."""
    if key in OURS and value is not None:
        return f"cannot be set there: {OURS[key]}"
    if key in FIXED and number(value) != FIXED[key][0]:
        return f"is {shown(value)}, but must be {FIXED[key][0]!r}: {FIXED[key][1]}"
    return None


def _fits(value: Any, kinds: Iterable[str]) -> bool:
    if value is None:
        return "None" in kinds or "bool" in kinds
    if isinstance(value, bool) or "bool" in kinds:
        return "bool" in kinds and value in (True, False)
    if isinstance(value, float) and (math.isnan(value) or "float" not in kinds):
        return False
    return isinstance(value, int | float)


@lru_cache(maxsize=1)
def _choices() -> Mapping[str, tuple[str, ...]]:
    """Enumerations of transformers → their values."""
    return {
        node.name: tuple(
            line.value.value
            for line in node.body
            if isinstance(line, ast.Assign)
            and isinstance(line.value, ast.Constant)
            and isinstance(line.value.value, str)
        )
        for node in _classes(TRAINING, ("transformers", "trainer_utils.py"))
        if any("Enum" in ast.unparse(base) for base in node.bases)
    }


def _classes(*sources: tuple[str, str]) -> Iterable[ast.ClassDef]:
    """The classes in files of packages, as far as these are installed."""
    return chain.from_iterable(_classes_of(*source) for source in sources)


@lru_cache(maxsize=8)  # transformers' arguments are those of both trainers, and take the most time
def _classes_of(package: str, file: str) -> tuple[ast.ClassDef, ...]:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return ()
    source = Path(spec.submodule_search_locations[0]) / file
    if not source.exists():
        return ()
    nodes = ast.parse(source.read_text(encoding="utf-8")).body
    return tuple(node for node in nodes if isinstance(node, ast.ClassDef))
