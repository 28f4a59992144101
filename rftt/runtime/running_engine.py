"""The engine that a config asks for, on a model folder.

``python -m rftt.runtime.running_engine CONFIG [section.key=value…]`` prints for ``launch/search.sh``, one a line: the model,
the override of ``engine.options`` that goes with ``engine.name=server``, and the flags that make a server what
``engine.name: vllm`` is. With ``--models`` in front it prints for ``launch/eval.sh`` the name and the path of each model
that is still to be measured.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rftt.config import Config
from rftt.errors import UsageError
from rftt.model.function_sets import functions_of_model
from rftt.model.templates import ask_as_configured, asking_of
from search.engines import Engine
from search.prompt import end_ids

log = logging.getLogger(__name__)


def build_engine(config: Config, model: str | Path) -> Engine:
    """Start ``config.engine`` on a model, which is asked as ``config.model`` says.

    Raises:
        EngineError: the engine cannot start, or the servers serve another model.
        UsageError: there is no such engine, ``engine.options`` holds what it does not know, or the model was trained to be
            asked otherwise.
    """
    engine = _start(config, model)
    try:
        unasked = not asking_of(engine.tokenizer)
        ask_as_configured(engine.tokenizer, config.model, str(model))
        if unasked and asking_of(engine.tokenizer) and _has_functions(engine.tokenizer, model):
            log.warning(
                "%s: it was trained to be asked without model.system and model.chat_template_kwargs, and is asked with "
                "them; leave them out, or train it with them", model,
            )  # fmt: skip
        engine.eos_ids = end_ids(engine.tokenizer, engine.eos_ids)
    except UsageError:
        engine.close()
        raise
    return engine


def _has_functions(tokenizer: Any, model: str | Path) -> bool:
    functions, vocabulary = functions_of_model(model), tokenizer.get_vocab()
    return functions is not None and all(tag in vocabulary for tag in functions.tags)


def _start(config: Config, model: str | Path) -> Engine:
    from search.engines.starting import EngineSettings, start_engine

    engine = config.engine
    settings = EngineSettings(
        str(model),
        engine.max_model_len,
        config.model.dtype,
        config.seed,
        engine.servers,
        engine.options,
        config.model.trust_remote_code,
    )
    try:
        return start_engine(engine.name, settings)
    except ValueError as error:
        raise UsageError(f"engine.{error}") from error


@contextmanager
def running_engine(config: Config, model: str | Path) -> Iterator[Engine]:
    """An engine that is closed at the end."""
    engine = build_engine(config, model)
    try:
        yield engine
    finally:
        engine.close()


def server_flags(config: Config) -> list[str]:
    """Flags of a vLLM server that does what ``engine.name: vllm`` with these settings would do."""
    engine = config.engine
    chosen: dict[str, Any] = {"max_model_len": engine.max_model_len, "dtype": config.model.dtype, "seed": config.seed}
    chosen |= {"trust_remote_code": True} if config.model.trust_remote_code else {}
    flags: list[str] = []
    for name, value in (chosen | (engine.options if engine.name == "vllm" else {})).items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            flags.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            flags += [f"--{flag}", json.dumps(value) if isinstance(value, (dict, list)) else str(value)]
    return flags


def main(argv: list[str]) -> int:
    """Print what servers are started with; returns the exit code."""
    from rftt.config import load_config
    from rftt.evaluate.measured import unmeasured
    from rftt.run_folder import model_path, trained_model

    listing = argv[:1] == ["--models"]
    try:
        config = load_config(argv[listing], argv[listing + 1 :])
        if listing:
            print(*(f"{name} {trained_model(config, name)}" for name in unmeasured(config)), sep="\n")
            return 0
    except UsageError as error:
        print(f"rftt: {error}", file=sys.stderr)
        return 2
    options = config.engine.options if config.engine.name == "server" else {}
    print(model_path(config), f"engine.options={json.dumps(options)}", *server_flags(config), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
