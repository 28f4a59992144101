"""Which token set a run or a model has.

A config names one by ``model.functions``. `rftt tokens` writes it beside the tokenizer of the model it makes, and every
model that is trained from that one takes it along, so that a model folder is all that a search, a server or an export
needs. A run keeps a copy, so that all of its phases see the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rftt.config import Config
from rftt.errors import UsageError
from rftt.model.checkpoints import write_whole
from search.function_files import FILE, SUGGESTED, difference, read_functions, write_functions
from search.functions import RFTT, FunctionSet
from search.named import load_named


def load_functions(path: str | Path) -> FunctionSet:
    """The token set of a YAML file, or the `FunctionSet` that ``module:name`` names.

    Raises:
        UsageError: it cannot be read, or is no token set.
    """
    try:
        if ":" in str(path) and not Path(path).expanduser().exists():
            found = load_named(str(path), {}, "token set")
            if not isinstance(found, FunctionSet):
                raise ValueError(f"token set {path} is {type(found).__name__}, expected a search.functions.FunctionSet")
            return found
        return read_functions(Path(path).expanduser())
    except ValueError as error:
        raise UsageError(str(error)) from error


def functions_of_model(model: str | Path) -> FunctionSet | None:
    """The token set that lies beside the tokenizer of a model folder or of a model on the hub; None where there is none.

    Raises:
        UsageError: the file is damaged.
    """
    found = beside_model(model, FILE)
    return load_functions(found) if found else None


def beside_model(model: str | Path, name: str) -> Path | None:
    """A file of a model folder, or of a model on the hub; None where there is none."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder / name if (folder / name).is_file() else None
    if folder.is_absolute() or str(model).count("/") > 1:
        return None
    from transformers.utils import cached_file

    errors = ("gated_repo", "missing_entries", "connection_errors")
    quiet: dict[str, Any] = {f"_raise_exceptions_for_{kind}": False for kind in errors}
    try:
        found = cached_file(str(model), name, **quiet)
    except OSError:  # no such model, which whoever loads it tells better
        return None
    return Path(found) if found else None


def choose(given: str | None, model: str | Path) -> FunctionSet:
    """The token set to use with a model: that of the file `given`, else the model's own, else the one that an un-tuned model
    suggests, else RFTT's.

    Raises:
        UsageError: the file is no token set, or the model has another one.
    """
    own = functions_of_model(model)
    if given is None:
        suggested = None if own else beside_model(model, SUGGESTED)
        return own or (load_functions(suggested) if suggested else RFTT)
    chosen = load_functions(given)
    if own is not None:
        refuse_difference(model, own, chosen, f"model.functions ({given})")
    return chosen


def functions_of_run(config: Config, model: str | Path | None = None) -> FunctionSet:
    """The token set of a run, for a phase that starts from `model`.

    Raises:
        UsageError: `model` has another one.
    """
    from rftt.run_folder import model_path

    kept = config.folder / FILE
    functions = load_functions(kept) if kept.is_file() else choose(config.model.functions, model_path(config))
    if model is not None and (own := functions_of_model(model)) is not None:
        refuse_difference(model, own, functions, f"the run {config.folder}")
    return functions


def functions_of_folder(run: Path) -> FunctionSet:
    """The token set of a run folder without its config; RFTT's where it keeps none."""
    kept = run / FILE
    return load_functions(kept) if kept.is_file() else RFTT


def keep_functions(config: Config) -> FunctionSet:
    """Put the token set that the config asks for into the run folder.

    Raises:
        UsageError: it is no token set, the run was begun with another one, or the un-tuned model has another one.
    """
    from rftt.run_folder import model_path

    functions, kept = choose(config.model.functions, model_path(config)), config.folder / FILE
    if kept.is_file():
        if apart := difference(load_functions(kept), functions):
            raise UsageError(
                f"{config.folder}: this run was begun with another token set (they differ in {apart}); give another folder "
                "with run=FOLDER, or the set it was begun with"
            )
    else:
        write_whole(kept, write_functions(functions))
    return functions


def refuse_difference(model: str | Path, own: FunctionSet, wanted: FunctionSet, whose: str) -> None:
    """Raises:
    UsageError: two token sets are not the same.
    """
    if apart := difference(own, wanted):
        raise UsageError(
            f"{model}: its token set ({FILE}) is not that of {whose}: they differ in {apart}; use the set of the model, or "
            "a model made with the other one by `rftt tokens`"
        )
