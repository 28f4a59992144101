"""User text as token ids, none of which is a control token: what is typed as ``<|im_end|>`` or ``<output>`` stays text.

A tokenizer cuts its added tokens (those of the chat format, and functional tags) out of any text before its model sees
it. Here the model sees the whole text. White space is no control token: some vocabularies add runs of it.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any


def plain_ids(tokenizer: Any, text: str) -> list[int]:
    """Token ids of `text` as text; those of the usual encoding wherever that holds no added token.

    Args:
        tokenizer: a transformers tokenizer, or anything with its interface; one without a Rust backend is called with
            ``split_special_tokens=True``.
        text: text of any length; nothing is put around it.

    Returns:
        Ids. The id of the unknown token stands for characters that the vocabulary lacks, for nothing else.

    Raises:
        ValueError: the tokenizer cannot encode the text without a control token.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return list(tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])
    control = _control_ids(backend, backend.get_vocab_size())
    ids: list[int] = backend.encode(text, add_special_tokens=False).ids
    if control.isdisjoint(ids):
        return ids
    encoder, unknown = _without_control(backend, backend.get_vocab_size())
    ids = encoder.encode(text, add_special_tokens=False).ids
    if not (control - {unknown}).isdisjoint(ids):
        found = tokenizer.decode([next(i for i in ids if i in control and i != unknown)])
        raise ValueError(f"the text holds {found!r}, which this tokenizer has as a control token only; leave it out")
    return ids


@lru_cache(maxsize=8)
def _control_ids(backend: Any, size: int) -> frozenset[int]:
    """Ids of the added tokens; `size` of the vocabulary tells when one was added."""
    return frozenset(i for i, token in backend.get_added_tokens_decoder().items() if token.content.strip())


@lru_cache(maxsize=8)
def _without_control(backend: Any, size: int) -> tuple[Any, int | None]:
    """The same tokenizer, blind to its control tokens, and the id of its unknown token.

    They are declared special, which lets the tokenizer overlook them. The model's own vocabulary may hold them too: there
    they take a name that no text becomes, and the merges that make them are left out. No id changes.
    """
    from tokenizers import Tokenizer

    form = json.loads(backend.to_str()) | {"truncation": None, "padding": None, "post_processor": None}
    model = form["model"]
    control = {t["content"] for t in form["added_tokens"] if t["content"].strip()}
    hidden = {name: f"\x00 {name}" for name in control if len(name) > 1}
    for token in form["added_tokens"]:
        token |= {"special": token["content"] in control, "content": hidden.get(token["content"], token["content"])}
    if isinstance(model["vocab"], dict):
        unknown = model["vocab"].get(model.get("unk_token"))
        model["vocab"] = {hidden.get(name, name): i for name, i in model["vocab"].items()}
    else:
        unknown = model.get("unk_id")
        model["vocab"] = [[hidden.get(name, name), score] for name, score in model["vocab"]]
    if model.get("unk_token") is not None:
        model["unk_token"] = hidden.get(model["unk_token"], model["unk_token"])
    if "merges" in model:
        pairs = (m.split(" ") if isinstance(m, str) else m for m in model["merges"])
        model["merges"] = [list(p) for p in pairs if hidden.keys().isdisjoint([*p, "".join(p)])]
    encoder = Tokenizer.from_str(json.dumps(form))
    encoder.encode_special_tokens = True
    return encoder, unknown
