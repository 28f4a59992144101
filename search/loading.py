"""Tokenizers, configs and models out of model folders; code that lies in a folder runs only where that is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SETTING = "model.trust_remote_code"
ASKS = "trust_remote_code"  # is in whatever transformers and vLLM say when a model needs it


class CodeRefused(ValueError):
    """A model comes with code of its own, which was not run.

    Args:
        source: its folder or hub name.
        setting: setting with which it would be.
    """

    def __init__(self, source: str | Path, setting: str = SETTING) -> None:
        told = " (`rftt tokens MODEL OUT`: --trust-remote-code)" if setting == SETTING else ""
        super().__init__(
            f"{source} needs code that comes with it, which is not run unasked: read it, then say {setting}=true{told}"
        )


def load_tokenizer(source: str | Path, trust_remote_code: bool = False, **options: Any) -> Any:
    """The tokenizer of a model folder or hub name.

    Args:
        source: the folder or name.
        trust_remote_code: run code that comes with it.
        options: options of ``AutoTokenizer.from_pretrained``.

    Raises:
        CodeRefused: it needs such code. OSError, ValueError: it cannot be loaded.
    """
    from transformers import AutoTokenizer

    with refusing_code(source):
        return AutoTokenizer.from_pretrained(source, trust_remote_code=trust_remote_code, **options)


def load_model_config(source: str | Path, trust_remote_code: bool = False) -> Any:
    """The config of a model; arguments and errors as in `load_tokenizer`."""
    from transformers import AutoConfig

    with refusing_code(source):
        return AutoConfig.from_pretrained(source, trust_remote_code=trust_remote_code)


def load_model(source: str | Path, trust_remote_code: bool = False, **options: Any) -> Any:
    """A causal language model; arguments and errors as in `load_tokenizer`."""
    from transformers import AutoModelForCausalLM

    with refusing_code(source):
        return AutoModelForCausalLM.from_pretrained(source, trust_remote_code=trust_remote_code, **options)


@contextmanager
def refusing_code(source: str | Path) -> Iterator[None]:
    """What loads a model inside asks nobody whether code may run.

    Raises:
        CodeRefused: the model needs code that it may not run.
    """
    from transformers import dynamic_module_utils

    # Where nobody has said whether code may run, transformers asks on standard input; with no time for an answer it refuses.
    dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0
    try:
        yield
    except (ValueError, RuntimeError) as error:
        if ASKS in str(error):
            raise CodeRefused(source) from error
        raise


def first_line(error: Exception) -> str:
    """What a library's error says, in one line; pydantic's first line only counts what is wrong."""
    listed = getattr(error, "errors", None)
    said = str(listed()[0]["msg"]) if callable(listed) else str(error)
    return next((line.strip() for line in said.splitlines() if line.strip()), type(error).__name__)
