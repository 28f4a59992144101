"""The engine that a config asks for, on a model folder.

``python -m rftt.runtime.running_engine CONFIG [section.key=value…]`` prints for ``launch/search.sh``, one a line: the model,
the override of ``engine.options`` that goes with ``engine.name=server``, and the flags that make a server what
``engine.name: vllm`` is. With ``--models`` in front it prints for ``launch/eval.sh`` the name and the path of each model
that is still to be measured.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rftt.config import Config
from rftt.errors import UsageError
from search.engines import Engine


def build_engine(config: Config, model: str | Path) -> Engine:
    """Start ``config.engine`` on a model.

    Raises:
        EngineError: the engine cannot start, or the servers serve another model.
        UsageError: ``engine.options`` holds what a server engine does not know.
    """
    from search import engines

    if config.engine.name == "server":
        return _server_engine(config, str(model))
    options: dict[str, Any] = {"dtype": config.model.dtype} | config.engine.options
    if config.engine.name == "vllm":
        # One seed for what has no seed of its own; a trainer in the same process keeps its random state.
        return engines.VLLMEngine(str(model), max_model_len=config.engine.max_model_len, seed=config.seed, **options)
    return engines.TransformersEngine(str(model), max_model_len=config.engine.max_model_len, **options)


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
    chosen = {"max_model_len": engine.max_model_len, "dtype": config.model.dtype, "seed": config.seed}
    flags: list[str] = []
    for name, value in (chosen | (engine.options if engine.name == "vllm" else {})).items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            flags.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            flags += [f"--{flag}", json.dumps(value) if isinstance(value, (dict, list)) else str(value)]
    return flags


def _server_engine(config: Config, model: str) -> Engine:
    from search.engines.engine import EngineError
    from search.engines.server import ServerEngine

    engine = config.engine
    known = set(inspect.signature(ServerEngine).parameters) - {"urls", "tokenizer", "max_model_len"}
    if unknown := sorted(set(engine.options) - known):
        raise UsageError(
            f"engine.options.{unknown[0]} is unknown to engine.name: server, expected one of {', '.join(sorted(known))}; "
            "what vLLM is to know goes to the command line of its servers"
        )
    options = {"seed": config.seed} | engine.options
    built = ServerEngine(engine.servers, tokenizer=model, max_model_len=engine.max_model_len, **options)
    if "model" not in engine.options and not any(_same_model(name, model) for name in built.served):
        raise EngineError(
            f"the servers serve {' = '.join(sorted(built.served))}, not {model}: start them with launch/servers.sh {model}, "
            f"or say with engine.options.model={built.model} that it is the same"
        )
    return built


def _same_model(one: str, other: str) -> bool:
    """Whether two folders or hub names are the same, however the folders are written."""
    return Path(one).resolve() == Path(other).resolve()


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
