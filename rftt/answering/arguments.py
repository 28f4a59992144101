"""Options that `rftt solve` and `rftt serve` share: the model that answers, its engine, its search."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rftt.config import Config


def add_answering(parser: argparse.ArgumentParser) -> None:
    """Add these options to a command."""
    add = parser.add_argument
    add("--model", required=True, metavar="M", help="model folder or hub name")
    add(
        "--strategy",
        default="auto",
        help="best_first, mcts, greedy, majority, best_of_n, beam, dvts, or module:function (default: best_first, or mcts "
        "by prompting for a model without functional tokens)",
    )
    add("--rollouts", type=int, default=16, help="budget in paths (default: 16)")
    add("--budget-tokens", type=int, help="budget in generated tokens; stops at the one reached first")
    add("--seed", type=int, default=0)
    add("--engine", metavar="NAME", help="vllm (default), transformers, server (with --server), or module:function")
    add("--server", action="append", default=[], metavar="URL", help="a running vLLM server; repeatable")
    add("--prm", metavar="PATH", default="", help="process reward model: guides the search, ranks candidates")
    add("--prm-format", default="token_classification", metavar="F",
        help="token_classification (default), math_shepherd or qwen")  # fmt: skip
    add("--prm-server", action="append", default=[], metavar="URL",
        help="a running vLLM server of the process reward model; repeatable")  # fmt: skip
    add("--set", action="append", default=[], metavar="section.key=value", dest="overrides",
        help="any setting of model, engine, search and prm, e.g. search.selection=puct")  # fmt: skip


def answering_config(arguments: argparse.Namespace) -> Config:
    """The config that these options ask for.

    Raises:
        UsageError: a value does not fit, or the model cannot be found.
    """
    from rftt.answering.solve import settings

    values = {
        "rollouts": arguments.rollouts,
        "budget_tokens": arguments.budget_tokens,
        "seed": arguments.seed,
        "engine": arguments.engine or ("server" if arguments.server else "vllm"),
        "servers": arguments.server,
        "prm": {"path": arguments.prm, "format": arguments.prm_format, "servers": arguments.prm_server},
    }
    return settings(arguments.model, values, arguments.overrides)
