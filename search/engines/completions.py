"""The wire format of vLLM's ``/v1/completions``: token ids in both directions."""

from __future__ import annotations

import json
from typing import Any

from search.engines.engine import FORBIDDING, EngineError, Generation, Sampling


def request_body(
    model: str, prompt_ids: list[int], sampling: Sampling, room: int, eos_ids: frozenset[int]
) -> dict[str, Any]:
    """What is posted for `room` new tokens after a prompt; every field that a server could fill in itself is named."""
    body: dict[str, Any] = {
        "model": model,
        "prompt": prompt_ids,
        "max_tokens": room,
        "n": sampling.n,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
        # A server that is started with --generation-config vllm knows only the tokenizer's end-of-sequence id.
        "stop_token_ids": sorted({*sampling.stop_ids, *eos_ids}),
        "return_token_ids": True,
        # What a request leaves out comes from the model's generation config; samples are to be the model's own.
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
    }
    if sampling.logprobs or sampling.watch_ids:
        body |= {"logprobs": 0, "return_tokens_as_token_ids": True}
    if sampling.forbidden_ids:
        body["logit_bias"] = dict.fromkeys(map(str, sampling.forbidden_ids), FORBIDDING)
    if sampling.watch_ids:
        body["logprob_token_ids"] = list(sampling.watch_ids)
    return body


def read_generations(answer: Any, sampling: Sampling, room: int) -> list[Generation]:
    """Read an answer; what is missing or of the wrong shape raises."""
    choices = sorted(answer["choices"], key=lambda choice: choice["index"])
    if len(choices) != sampling.n:
        raise ValueError(f"{len(choices)} continuations instead of {sampling.n}")
    generations = []
    for choice in choices:
        ids, finish = tuple(choice["token_ids"]), choice["finish_reason"]
        if finish not in ("stop", "length"):
            raise ValueError(f"finish_reason {finish}")
        if finish == "length" and len(ids) < room:
            raise EngineError(
                f"a server cut a continuation off at {len(ids)} of {room} tokens: start it without a limit of its own "
                "(max_new_tokens of --generation-config or --override-generation-config)"
            )
        logprobs: tuple[float, ...] = ()
        if sampling.logprobs:
            logprobs = tuple(float(x) for _, x in zip(ids, choice["logprobs"]["token_logprobs"], strict=True))
        watched = None
        if sampling.watch_ids and ids:
            last = choice["logprobs"]["top_logprobs"][-1]
            watched = {i: float(last[f"token_id:{i}"]) for i in sampling.watch_ids}
        generations.append(Generation(ids, finish == "stop", logprobs, watched))
    return generations


def error_message(content: bytes) -> str:
    """What a server says is wrong, in one line."""
    try:
        said = json.loads(content)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        said = content.decode(errors="replace")
    return one_line(str(said)) or "(no message)"


def one_line(text: str, width: int = 300) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else f"{text[:width]}…"
