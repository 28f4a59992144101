"""The piece of text that each token of a run spells, so that the page can shade tokens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rftt.weighting.annotate import token_texts

FOLDERS = ("model-with-tokens", "sft/final", "rl/final")


class Pieces:
    """Cuts token ids into pieces of text, with the tokenizer file of the run.

    Args:
        tokenizer: tokenizer of the ``tokenizers`` library.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    @classmethod
    def of_run(cls, run: Path, *, model: Any = None) -> Pieces | None:
        """Those of the first tokenizer file in the run's model folders, else in `model`; None without one.

        The library ``tokenizers`` reads it in milliseconds, where the tokenizer classes take seconds to import.
        """
        folders = [run / name for name in FOLDERS] + ([Path(model)] if isinstance(model, str) else [])
        for path in (folder / "tokenizer.json" for folder in folders):
            if path.is_file():
                from tokenizers import Tokenizer

                try:
                    return cls(Tokenizer.from_str(path.read_text(encoding="utf-8")))
                except Exception:  # the library raises bare Exception for a file that is damaged
                    return None
        return None

    def decode(self, ids: Sequence[int], **_: Any) -> str:
        """Text of some ids, with tags and special tokens."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))

    def __call__(self, ids: Any) -> list[str] | None:
        """One piece for each id, their concatenation is the text; None where these are no ids of this tokenizer."""
        known = self._tokenizer.get_vocab_size(with_added_tokens=True)
        if not isinstance(ids, list) or not all(type(i) is int and 0 <= i < known for i in ids):
            return None
        return token_texts(self, ids)


def pieces_or_ids(pieces: Pieces | None, ids: list[int]) -> list[str]:
    """The pieces, or where no tokenizer knows the ids, the ids themselves in brackets."""
    return (pieces(ids) if pieces else None) or [f"[{json.dumps(i)}]" for i in ids]
