"""Functional tokens as real entries of a model's vocabulary (RFTT, arXiv 2502.13389, section 3.1).

    rftt tokens MODEL OUT

Each tag becomes one token id. It is not a *special* token: trainers and engines decode with
``skip_special_tokens=True``, and a special token would vanish before a reward sees it. Embedding rows only grow.
Published models often have more rows than tokens (Qwen2.5: 151 936 for 151 665); new ids fall into that padding first.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rftt.config.sections import ModelConfig, TokenRows
from rftt.errors import UsageError
from rftt.model.checkpoints import put_in_place, telling_a_full_disk
from rftt.model.function_sets import functions_of_model, refuse_difference
from rftt.model.templates import ask_as_configured
from search.function_files import FILE as FUNCTIONS
from search.function_files import write_functions
from search.functions import RFTT, FunctionSet
from search.loading import CodeRefused, first_line, load_model, load_model_config, load_tokenizer
from search.prompt import end_of_turn, question_ids

MARKER = "functional_tokens.json"  # written into a model folder made here: what was added, from what, with which seed
NOISE = 0.05  # standard deviation of the noise on a new row, as a share of that of the rows of its words
PART = 1 << 13  # rows of an embedding at a time
SIDE = 0.7  # length of the direction from "start" to "end", where that of a function's own is 1
WEIGHTS = ("*.safetensors", "*.bin")


def add_functional_tokens(
    model_path: str | Path,
    out: str | Path,
    functions: FunctionSet = RFTT,
    seed: int = 0,
    dtype: str | None = None,
    pad_token: str | None = None,
    noise: float = NOISE,
    rows: TokenRows = "apart",
    asking: ModelConfig | None = None,
    trust_remote_code: bool = False,
) -> dict[str, Any]:
    """Write a copy of a model whose vocabulary holds the functional tokens.

    A new row, of the input embedding and of an untied output head (with its bias, if any), comes from the rows of the words
    that describe the token, plus seeded noise. ``mean``: the mean of "start" (open tag) or "end" (close tag) and the
    function's description, as in other work; such means are short and all alike. ``apart``: the mean of all descriptions,
    and from there as far as rows of the vocabulary lie from their mean, in the direction in which this description differs
    from the others, forth for open and back for close tags along the difference of "start" and "end". Every other row
    stays bit-identical unless `dtype` converts the model. Tags the model has already keep their rows.

    The folder is written beside `out` under a temporary name and renamed, so it is there whole or not at all.

    Args:
        model_path: model folder, or the name of a model on the hub.
        out: folder to write; one that is empty or was made by this function is replaced.
        functions: the functional tokens; the whole set is written into the folder as ``functions.yaml``.
        seed: seed of the noise.
        dtype: floating point type to convert to, e.g. ``"bfloat16"``; by default the checkpoint's own.
        pad_token: entry of the vocabulary to pad with, for a model that has no padding token or pads with its eos.
        noise: standard deviation of the noise on a new row, as a share of that of the rows of its words.
        rows: how new rows begin.
        asking: chat template, system turn and variables of the template with which every model made of this one is asked.
        trust_remote_code: whether code that comes with the model may run.

    Returns:
        Summary: ``message`` (one line for people), ``model``, ``out``, ``ids`` (tag → token id), ``added`` and ``kept``
        (tags), ``rows_before``, ``rows_after``, ``tied``, ``dtype``, ``seed``.

    Raises:
        UsageError: the model cannot be loaded, has no chat template, pads with its eos, has one of the tags as a
            special token or another token set already, or `out` holds something else.
    """
    import torch

    source, target = _resolve(model_path), Path(out).expanduser()
    _refuse_foreign_folder(target, source)
    tokenizer = _load_tokenizer(source, pad_token, asking, trust_remote_code)
    if dtype is not None and not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise UsageError(f"dtype: {dtype!r} is not a torch type; use float32, bfloat16 or float16")

    if (own := functions_of_model(source)) is not None:
        refuse_difference(source, own, functions, "what is to be added")
    before = dict(tokenizer.get_vocab())
    _add_to_tokenizer(tokenizer, functions)
    ids = functional_token_ids(tokenizer, functions)

    with loading(source):
        model = load_model(source, trust_remote_code, dtype=dtype or "auto")
    rows_before = model.get_input_embeddings().weight.shape[0]
    rows_after = max(rows_before, max(tokenizer.get_vocab().values()) + 1)
    added = [tag for tag, id in ids.items() if before.get(tag, rows_before) >= rows_before]
    with torch.random.fork_rng(devices=[]):
        # Only tokens of a tokenizer that was larger than its model keep what the resize draws for them.
        torch.manual_seed(seed)
        if rows_after > rows_before:
            model.resize_token_embeddings(rows_after, mean_resizing=False)
    words = {
        ids[tag]: _Words(*(tokenizer.encode(text, add_special_tokens=False) for text in texts))
        for tag, texts in _described(functions).items()
    }
    tied = _initialise_rows(model, words, [ids[tag] for tag in added], seed, noise, rows)

    summary = {
        "message": f"{len(added)} functional tokens added, {rows_after - rows_before} embedding rows grown"
        if added
        else "the model has the functional tokens already; no row was changed",
        "model": str(model_path),
        "out": str(target),
        "ids": ids,
        "added": added,
        "kept": [tag for tag in ids if tag not in added],
        "rows_before": rows_before,
        "rows_after": rows_after,
        "tied": tied,
        "dtype": str(model.dtype).removeprefix("torch."),
        "seed": seed,
    }
    with telling_a_full_disk(target):
        _save(model, tokenizer, source, target, summary, pad_token, functions)
    return summary


def functional_token_ids(tokenizer: Any, functions: FunctionSet = RFTT) -> dict[str, int]:
    """Token ids by tag, in vocabulary order.

    Args:
        tokenizer: a transformers tokenizer.
        functions: the functional tokens.

    Raises:
        UsageError: a tag is not exactly one token wherever it stands, or is a special token.
    """
    ids: dict[str, int] = {}
    for tag in functions.tags:
        alone = tokenizer.encode(tag, add_special_tokens=False)
        glued = tokenizer.encode(f"a{tag}\n{tag}b", add_special_tokens=False)
        if len(alone) != 1 or glued.count(alone[0]) != 2:
            raise UsageError(
                f"{tag} is not one token of {_name(tokenizer)}: make such a model with `rftt tokens MODEL OUT`"
            )
        ids[tag] = alone[0]
    _refuse_special(tokenizer, functions.tags)
    return ids


def check_model(
    model_path: str | Path,
    functions: FunctionSet | None = None,
    pad_token: str | None = None,
    asking: ModelConfig | None = None,
    trust_remote_code: bool = False,
) -> None:
    """Refuse, before anything is started, a model that the pipeline cannot use. Reads no weights.

    Args:
        model_path: model folder, or the name of a model on the hub.
        functions: functional tokens that the vocabulary must hold already; None demands none.
        pad_token, asking: as in `add_functional_tokens`.
        trust_remote_code: whether code that comes with the model may run.

    Raises:
        UsageError: as `add_functional_tokens`, a functional token is missing, or a prompt holds tokens that have no row in
            the embedding.
    """
    source = _resolve(model_path)
    with loading(source):
        config = load_model_config(source, trust_remote_code)
    causal = "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})  # whatever its code calls it
    if not causal and not any("CausalLM" in name for name in getattr(config, "architectures", None) or ["CausalLM"]):
        raise UsageError(
            f"{model_path} is a {config.architectures[0]}, not a causal language model; give another model"
        )
    if Path(source).is_dir() and not any(path for pattern in WEIGHTS for path in Path(source).glob(pattern)):
        raise UsageError(f"{model_path} holds no weights ({' or '.join(WEIGHTS)}); give a whole model folder")
    tokenizer = _load_tokenizer(source, pad_token, asking, trust_remote_code)
    rows = getattr(config.get_text_config(), "vocab_size", None)
    if rows is not None and (beyond := [i for i in question_ids(tokenizer, "?") if i >= rows]):
        raise UsageError(
            f"{model_path}: its chat template writes {tokenizer.decode(beyond[:1])}, token {beyond[0]}, and the embedding "
            f"has only {rows} rows; resize the model's embedding, or give another template with model.chat_template=FILE"
        )
    if functions is not None:
        functional_token_ids(tokenizer, functions)


def _add_to_tokenizer(tokenizer: Any, functions: FunctionSet) -> None:
    from transformers import AddedToken

    _refuse_special(tokenizer, functions.tags)
    plain = {token.content for token in tokenizer.added_tokens_decoder.values()}
    missing = [tag for tag in functions.tags if tag not in plain]
    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in missing])


@dataclass(frozen=True)
class _Words:
    """Ids of the words that describe a token: all, those of its function, those of its side, those of the other side."""

    all: list[int]
    function: list[int]
    side: list[int]
    other: list[int]


def _described(functions: FunctionSet) -> dict[str, tuple[str, ...]]:
    """Texts of `_Words` by tag."""
    return {
        tag: (f"{side} {function.description}", f" {function.description}", side, other)
        for function in functions.functions
        for tag, side, other in ((function.open, "start", "end"), (function.close, "end", "start"))
    }


def _initialise_rows(
    model: Any, words: Mapping[int, _Words], added: Sequence[int], seed: int, noise: float, rows: TokenRows
) -> bool:
    """Set the rows of new token ids in place; returns whether the head is tied to the input embedding.

    Args:
        model: model that is already large enough.
        words: describing words of all functional tokens by id.
        added: ids that are new.
        seed: seed of the noise.
        noise: standard deviation of the noise, as a share of that of the rows of the words.
        rows: how they begin.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    tied = head is None or head.weight is embedding.weight
    with torch.no_grad():
        for layer in [embedding] if tied else [embedding, head]:
            begun = _apart(layer.weight, words) if rows == "apart" and added else {}
            for id in added:
                rows_WD = layer.weight[words[id].all].float()
                noise_D = torch.randn(rows_WD.shape[1], generator=generator) * noise * rows_WD.std()
                layer.weight[id] = (begun.get(id, rows_WD.mean(dim=0)) + noise_D).to(layer.weight.dtype)
        if (bias_V := getattr(head, "bias", None)) is not None:
            for id in added:
                bias_V[id] = bias_V[words[id].all].float().mean().to(bias_V.dtype)
    return tied


def _apart(weight_VD: Any, words: Mapping[int, _Words]) -> dict[int, Any]:
    """Rows by id that differ from each other as much as rows of the vocabulary do."""
    import torch

    def mean(ids: Sequence[int]) -> Any:
        return weight_VD[list(ids)].float().mean(dim=0)

    unit = torch.nn.functional.normalize
    known_VD = weight_VD[: min(words)]  # of a vocabulary that grew, what was there before
    mean_D = known_VD.mean(dim=0, dtype=torch.float32)
    # Part by part: in float32 all rows of a large model are gigabytes.
    distance = torch.cat([(part.float() - mean_D).norm(dim=1) for part in known_VD.split(PART)]).median()
    common_D = torch.stack([mean(w.function) for w in words.values()]).mean(dim=0)
    begun = {}
    for id, w in words.items():
        own_D = unit(mean(w.function) - common_D, dim=0)
        side_D = unit(mean(w.side) - mean(w.other), dim=0)
        begun[id] = common_D + distance * unit(own_D + SIDE * side_D, dim=0)
    return begun


def _save(
    model: Any,
    tokenizer: Any,
    source: str,
    target: Path,
    summary: dict[str, Any],
    pad_token: str | None,
    functions: FunctionSet,
) -> None:
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        # Published generation settings are kept as they are, also those that transformers refuses to write again.
        generation = _generation_settings(source)
        generation["eos_token_id"] = _with_end(generation.get("eos_token_id"), end_of_turn(tokenizer))
        if pad_token is not None:
            model.config.pad_token_id = tokenizer.pad_token_id
            generation["pad_token_id"] = tokenizer.pad_token_id
        model.generation_config = type(model.generation_config).from_model_config(model.config)
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        for name, content in (("generation_config.json", generation), (MARKER, summary)):
            if content:
                (partial / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        (partial / FUNCTIONS).write_text(write_functions(functions), encoding="utf-8")
        put_in_place(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _with_end(listed: int | list[int] | None, end: int) -> int | list[int]:
    """The end tokens of generation settings, as they are where the one that ends the assistant's turn is among them."""
    known = listed if isinstance(listed, list) else [] if listed is None else [listed]
    return listed if listed is not None and end in known else [end, *known] if known else end


def _generation_settings(source: str) -> dict[str, Any]:
    from transformers.utils import cached_file

    path = cached_file(source, "generation_config.json", _raise_exceptions_for_missing_entries=False)
    return {} if path is None else json.loads(Path(path).read_text(encoding="utf-8"))


def _resolve(model_path: str | Path) -> str:
    """The folder or hub name to load from; whatever looks like a path must be a folder with a config."""
    text = str(model_path)
    folder = Path(text).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise UsageError(
                f"{text} is not a model folder: it has no config.json; give a folder written by save_pretrained"
            )
        return str(folder)
    if isinstance(model_path, Path) or folder.exists() or text.startswith((".", "/", "~")) or text.count("/") > 1:
        raise UsageError(f"there is no model folder {text}; check the path, or give the name of a model on the hub")
    return text


@contextmanager
def loading(source: str) -> Iterator[None]:
    """Whatever is wrong with a model that is loaded inside becomes one line.

    Raises:
        UsageError: it cannot be loaded.
    """
    from safetensors import SafetensorError

    try:
        yield
    except CodeRefused as error:
        raise UsageError(str(error)) from error
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        reason = first_line(error)
        remedy = "mend the folder" if Path(source).is_dir() else "give a local model folder, or a hub name while online"
        raise UsageError(f"cannot load model {source}: {reason[:200]}; {remedy}") from error


def _load_tokenizer(source: str, pad_token: str | None, asking: ModelConfig | None, trust_remote_code: bool) -> Any:
    with loading(source):
        tokenizer = load_tokenizer(source, trust_remote_code)
    ask_as_configured(tokenizer, asking or ModelConfig(), source)
    try:
        end = end_of_turn(tokenizer)
    except ValueError as error:
        raise UsageError(f"{source}: {error}") from error
    if tokenizer.eos_token_id is None:
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(end)
    if pad_token is not None:
        if pad_token not in tokenizer.get_vocab():
            raise UsageError(f"pad_token: {pad_token!r} is not in the vocabulary of {source}; name an entry that is")
        tokenizer.pad_token = pad_token
    remedy = "set pad_token to an entry of the vocabulary that never occurs in text"
    if tokenizer.pad_token_id is None:
        raise UsageError(f"{source} has no padding token; {remedy}")
    if tokenizer.pad_token_id in (tokenizer.eos_token_id, end):
        raise UsageError(
            f"{source} pads with its eos token {tokenizer.pad_token!r}, so a loss that ignores padding never learns "
            f"to stop; {remedy}"
        )
    return tokenizer


def _refuse_special(tokenizer: Any, tags: Sequence[str]) -> None:
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    for tag in tags:
        if tag in special | set(tokenizer.all_special_tokens):
            raise UsageError(
                f"{tag} is a special token of {_name(tokenizer)} and would vanish when text is decoded; "
                "make it a plain added token in tokenizer.json, or rename the function"
            )


def _refuse_foreign_folder(target: Path, source: str) -> None:
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target} is a file; give a folder to write the model into")
    if target.is_dir() and any(target.iterdir()) and not (target / MARKER).is_file():
        raise UsageError(f"{target} exists and was not made by `rftt tokens`; give a new folder, or remove it")
    if target.exists() and Path(source).is_dir() and target.resolve() == Path(source).resolve():
        raise UsageError(f"{target} is the model itself; give another folder to write to")


def _name(tokenizer: Any) -> str:
    return str(getattr(tokenizer, "name_or_path", "") or "the tokenizer")
