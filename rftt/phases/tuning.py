"""The phases that make models: functional tokens, token labels, warm-up and reinforcement learning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rftt.config import Config
from rftt.data.questions import problems
from rftt.model.function_sets import functions_of_run
from rftt.phases.search_phase import RESULT as SEARCH_RESULT
from rftt.run_folder import MODELS, model_path, needed, open_round, round_folder
from rftt.runtime.terminal import conclude, say
from search.journal import read_jsonl

SFT_RESULT = MODELS["sft"]
SHAD_ROLES, SHAD_RESULT = Path("shad") / "roles.jsonl", Path("shad") / "summary.json"


def tokens(config: Config) -> None:
    """Add the functional tokens to the model's vocabulary."""
    from rftt.model.vocabulary import add_functional_tokens

    dtype = None if config.model.dtype == "auto" else config.model.dtype
    out = config.folder / "model-with-tokens"
    summary = add_functional_tokens(
        model_path(config),
        out,
        functions_of_run(config),
        seed=config.seed,
        dtype=dtype,
        pad_token=config.model.pad_token,
        noise=config.model.token_noise,
        rows=config.model.token_rows,
        asking=config.model,
        trust_remote_code=config.model.trust_remote_code,
    )
    conclude(summary["message"])


def sft(config: Config, callbacks: Sequence[Any] = ()) -> None:
    """Warm the model up on the chains of the first round that has no model yet.

    Args:
        config: settings of the run.
        callbacks: transformers trainer callbacks.
    """
    from rftt.sft.phase import train_sft

    number = open_round(config, SFT_RESULT)
    if number is None:
        say("sft: done before")
        return
    folder = round_folder(config, number)
    model = needed(config.folder / "model-with-tokens", "tokens")
    train_sft(
        model,
        needed(folder / SEARCH_RESULT, "search"),
        folder / SFT_RESULT,
        config,
        label="sft" if config.search.rounds == 1 else f"sft round {number}",
        roles=folder / SHAD_ROLES,
        callbacks=callbacks,
        functions=functions_of_run(config, model),
    )


def shad(config: Config) -> None:
    """Tell reasoning tokens from boilerplate in the chains of the first round that has no model yet, else of the last."""
    from rftt.weighting.shad import label_tokens

    folder = round_folder(config, open_round(config, SFT_RESULT) or config.search.rounds)
    model = needed(config.folder / "model-with-tokens", "tokens")
    chains = needed(folder / SEARCH_RESULT, "search")
    summary = label_tokens(str(model), chains, (folder / SHAD_ROLES).parent, config, functions_of_run(config, model))
    if summary:  # another process tells it
        conclude(labelled(summary, folder / SHAD_ROLES))


def labelled(summary: dict[str, Any], where: Path) -> str:
    """What SHAD found, in one line."""
    return f"{where}: {summary['tokens']} tokens of {summary['samples']} samples, {summary['reasoning_share']:.1%} reasoning"


def rl(config: Config, callbacks: Sequence[Any] = ()) -> None:
    """Phase 2: online RL over functional tokens.

    Args:
        config: settings of the run.
        callbacks: transformers trainer callbacks.
    """
    from rftt.rl.phase import train_rl

    train, _ = problems(config)
    model = needed(config.folder / SFT_RESULT, "sft")
    untuned = config.folder / "model-with-tokens"
    train_rl(
        model, train, config.folder / "rl" / "final", config,
        functions=functions_of_run(config, model), solve_rates=_solve_rates(config), untuned=untuned, callbacks=callbacks,
    )  # fmt: skip


def _solve_rates(config: Config) -> dict[str, float]:
    """Share of right paths by question, in the trees of the search phase."""
    trees = config.folder / "search" / "trees.jsonl"
    roots = ((t["question_id"], t["nodes"][0]) for t in read_jsonl(trees)) if trees.exists() else ()
    return {question: root.get("value", 0.0) / root["visits"] for question, root in roots if root.get("visits")}
