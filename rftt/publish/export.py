"""Publish a model of a run: a folder that transformers, vLLM and converters load as it is, with a model card.

    rftt export RUN OUT [--model sft] [--dtype bfloat16] [--license ID] [--push OWNER/NAME]

The folder holds weights (safetensors), tokenizer, chat template, generation settings and token set; ``README.md`` with what
was measured and how the model was made; in ``training/`` the resolved config and all figures. Nothing of the training itself
(optimiser, arguments, manifests) goes along. A folder or a repository that is there already is never written to.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from rftt.errors import UsageError
from rftt.model.checkpoints import is_whole, put_in_place
from rftt.model.function_sets import beside_model, functions_of_model
from rftt.model.vocabulary import functional_token_ids, loading
from rftt.report.overview import masked, read_config, read_summary
from rftt.run_folder import MODELS
from search.function_files import FILE as FUNCTIONS
from search.function_files import write_functions
from search.functions import RFTT, ROOT, FunctionSet
from search.loading import load_model, load_tokenizer

TEMPLATE = "card.md.jinja"
STAGES = {
    "sft": "This is the warm-up: supervised fine-tuning on chains that a tree search found.",
    "rl": "It was warmed up on chains that a tree search found, then trained by online RL with that search as the sampler.",
}
DATA_FILES = (".jsonl", ".json", ".csv", ".parquet")
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def export(run: Path, out: Path, *, model: str = "rl", dtype: str | None = None, license: str | None = None) -> Path:
    """Write a model of a run into a new folder, whole or not at all.

    Args:
        run: run folder.
        out: folder to write, which must not exist.
        model: name of the model: ``sft`` or ``rl``.
        dtype: floating point type to convert to; by default the weights stay bit-identical.
        license: identifier of the license; by default that of the base model's card, if it is at hand.

    Returns:
        The folder.

    Raises:
        UsageError: `out` is there, the run has no such model, or the model is damaged.
    """
    import torch

    source = check_export(run, out, model)
    kind = getattr(torch, dtype, None) if dtype else torch.float32
    if not isinstance(kind, torch.dtype) or not kind.is_floating_point:
        raise UsageError(f"dtype: {dtype!r} is not a floating point type; use float32, bfloat16 or float16")
    trusted = bool(read_config(run / "config.yaml").get("model", {}).get("trust_remote_code"))
    with loading(str(source)):
        tokenizer = load_tokenizer(source, trusted)
        weights = load_model(source, trusted, dtype=dtype or "auto")
    functions = functions_of_model(source) or RFTT
    ids = functional_token_ids(tokenizer, functions)
    rows = weights.get_input_embeddings().weight.shape[0]
    last = max(tokenizer.get_vocab().values())
    if rows != weights.config.vocab_size or last >= rows:
        raise UsageError(
            f"{source}: {rows} embedding rows, but config.json says {weights.config.vocab_size} and the tokenizer reaches "
            f"id {last}; converters refuse such a model: train it again"
        )
    weights.config.use_cache = True  # which trainers switch off
    weights.generation_config = type(weights.generation_config).from_model_config(weights.config)

    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "training").mkdir(parents=True)
    try:
        weights.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        if (source / "generation_config.json").is_file():
            shutil.copy(source / "generation_config.json", partial)
        (partial / FUNCTIONS).write_text(write_functions(functions), encoding="utf-8")
        config, summary = masked(read_config(run / "config.yaml")), masked(read_summary(run / "summary.json"))
        settings = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        (partial / "training" / "config.yaml").write_text(settings, encoding="utf-8")
        if summary:
            figures = json.dumps(summary, indent=1, ensure_ascii=False) + "\n"
            (partial / "training" / "summary.json").write_text(figures, encoding="utf-8")
        about = {
            "name": out.name,
            "run": run.resolve().name,
            "stage": STAGES[model],
            "weights": f"{weights.num_parameters():,} parameters, {str(weights.dtype).removeprefix('torch.')}, safetensors",
        }
        text = card(config, summary, functions, ids, about, license=license)
        (partial / "README.md").write_text(text, encoding="utf-8")
        put_in_place(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def check_export(run: Path, out: Path, model: str) -> Path:
    """The folder of the model that is to be exported.

    Raises:
        UsageError: as `export`.
    """
    if out.exists():
        raise UsageError(f"{out}: exists already, and is not overwritten; give another folder, or remove it")
    if not (run / "config.yaml").is_file():
        raise UsageError(f"{run}: no run folder, it has no config.yaml; give one that `rftt run CONFIG` has made")
    source = run / MODELS[model]
    if not source.is_dir():
        raise UsageError(
            f"{source}: there is no {model} model yet; run `rftt {model} CONFIG` first, or give another --model"
        )
    if (source / "manifest.json").exists() and not is_whole(source):
        raise UsageError(
            f"{source}: a file is missing or cut off; remove the folder and run `rftt {model} CONFIG` again"
        )
    return source


def push(folder: Path, repo: str, *, private: bool = True, api: Any = None) -> str:
    """Upload a folder to a new repository on the hub.

    Args:
        folder: folder that `export` has written.
        repo: repository on the hub, as ``owner/name``.
        private: whether the repository is hidden from others.
        api: a ``huggingface_hub.HfApi``.

    Returns:
        Where it is.

    Raises:
        UsageError: the hub refuses or cannot be reached; the folder stays.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError

    api = api or HfApi()
    try:
        url = api.create_repo(repo, private=private, exist_ok=False)
        api.upload_folder(repo_id=repo, folder_path=str(folder), commit_message=f"{folder.name}, made with rftt")
    except (OSError, ValueError, HTTPError) as error:
        raise UsageError(
            f"{repo}: the hub did not take it ({_line(error)}); {folder} is written, `hf upload {repo} {folder}` sends it"
        ) from error
    return str(url)


def check_push(repo: str, api: Any = None) -> None:
    """Tell before the work whether `push` can succeed.

    Raises:
        UsageError: a name that the hub does not know, no login, no network, or the repository is there already.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError

    api = api or HfApi()
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise UsageError(f"--push {repo}: expected OWNER/NAME")
    try:
        api.whoami()
        there = api.repo_exists(repo)
    except (OSError, ValueError, HTTPError) as error:
        raise UsageError(
            f"--push {repo}: the hub cannot be used ({_line(error)}); log in with `hf auth login`"
        ) from error
    if there:
        raise UsageError(f"--push {repo}: the repository exists already, and is not overwritten; give another name")


def card(
    config: Mapping[str, Any],
    summary: Mapping[str, Any],
    functions: FunctionSet,
    ids: Mapping[str, int],
    about: Mapping[str, str],
    *,
    license: str | None = None,
) -> str:
    """The model card: YAML front matter for the hub, then what the model is, what was measured and how it was made.

    Args:
        config: resolved settings of the run, without secrets.
        summary: ``summary.json`` of the run; empty if it was not evaluated.
        functions: the token set.
        ids: token ids by tag.
        about: texts to show under ``name``, ``run``, ``stage`` and ``weights``.
        license: identifier of the license; None takes that of the base model's card.
    """
    from huggingface_hub import ModelCardData
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    path, data = config["model"]["path"], config["data"]
    license = license or _base_license(path)
    front = ModelCardData(
        base_model=path if _on_hub(path) else None,
        license=license,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["rftt", "reasoning", "functional-tokens", "tree-search"],
        datasets=[data["train"]] if _on_hub(data["train"]) else None,
    )
    counts = summary.get("data", {})
    train = _shown(data["train"], "generated questions of rftt's toy world")
    train += f", {counts['train']} questions" if "train" in counts else ""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, autoescape=False
    )
    return environment.get_template(TEMPLATE).render(
        front=front.to_yaml() + "\n",
        license=license,
        base=f"[{path}](https://huggingface.co/{path})"
        if _on_hub(path)
        else _shown(path, "the toy that ships with rftt"),
        train=train,
        seed=config["seed"],
        functions=[
            {"tag": f.open, "ids": f"{ids[f.open]}, {ids[f.close]}", "description": f.description.replace("|", "\\|")}
            for f in functions.functions
        ],
        chain=shortest_chain(functions),
        terminal=functions[functions.terminal].open,
        tables=result_tables(summary, _shown(data["eval"], "Generated questions of rftt's toy world")),
        command=_command(summary.get("command") or ""),
        seconds=", ".join(f"{phase} {seconds:,.0f}" for phase, seconds in summary.get("seconds", {}).items()),
        versions=", ".join(f"{package} {version}" for package, version in summary.get("versions", {}).items()),
        **about,
        place=about["name"],
    )


def result_tables(summary: Mapping[str, Any], title: str) -> list[dict[str, Any]]:
    """The figures of a summary as tables: one row for each metric, with value, interval and tokens of each model."""
    measured = {title: summary.get("models", {}), **summary.get("benchmarks", {})}
    tables = []
    for name, models in measured.items():
        rows = []
        for metric in dict.fromkeys(m for results in models.values() for m in results):
            found = [models[model].get(metric) for model in models]
            n = next(r["n"] for r in found if r)
            rows.append({"metric": metric, "n": n, "cells": [_cell(r) for r in found]})
        if rows:
            tables.append({"title": name, "models": list(models), "rows": rows})
    return tables


def _cell(result: Mapping[str, float] | None) -> dict[str, str]:
    if not result:
        return {"value": "", "tokens": ""}
    value, low, high = (100 * result[key] for key in ("value", "low", "high"))
    return {"value": f"{value:.1f} [{low:.1f}, {high:.1f}]", "tokens": f"{result['tokens']:,.0f}"}


def shortest_chain(functions: FunctionSet) -> str:
    """The shortest chain that the functional table allows, its words left out."""
    paths: list[tuple[str, ...]] = [(name,) for name in functions.functional[ROOT]]
    for path in paths:
        if path[-1] == functions.terminal:
            words = {functions.terminal: "\\boxed{…}"}
            return "\n".join(f"{functions[n].open}\n{words.get(n, '…')}\n{functions[n].close}" for n in path)
        paths += [(*path, name) for name in functions.functional[path[-1]] if name not in path]
    raise AssertionError("a token set has a path to its terminal function")


def _on_hub(name: str) -> bool:
    """Whether a model or data set of the config is a name on the hub rather than a file, a folder or the toy."""
    return name != "toy" and bool(HUB_NAME.fullmatch(name)) and not (Path(name).exists() or name.endswith(DATA_FILES))


def _shown(name: str, toy: str) -> str:
    """A model or data set without the folders of the machine it was on."""
    if name == "toy":
        return toy
    return f"`{name if _on_hub(name) else Path(name).name}`"


def _command(typed: str) -> str:
    """What was typed, without the place where the program stands."""
    return re.sub(r"^\S*(?:cli\.py|/rftt)(?=\s)", "rftt", typed)


def _base_license(path: str) -> str | None:
    from huggingface_hub import metadata_load

    if path == "toy":
        return "apache-2.0"  # that of this package
    try:
        found = beside_model(path, "README.md")
        return (metadata_load(found) or {}).get("license") if found else None
    except (ValueError, yaml.YAMLError):
        return None


def _line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]
