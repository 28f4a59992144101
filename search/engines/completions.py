"""The wire format of vLLM's ``/v1/completions``: token ids in both directions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from search.engines.engine import FORBIDDING, EngineError, Generation, Sampling, likeliest

UNKNOWN = -9999.0  # what a server writes for a log-probability of minus infinity


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
    if sampling.logprobs or sampling.watch_ids or sampling.top_logprobs:
        body |= {"logprobs": sampling.top_logprobs, "return_tokens_as_token_ids": True}
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
        top: tuple[tuple[tuple[int, float], ...], ...] = ()
        if sampling.top_logprobs:
            places = choice["logprobs"]["top_logprobs"]
            top = tuple(_top(place, sampling.top_logprobs) for _, place in zip(ids, places, strict=True))
        generations.append(Generation(ids, finish == "stop", logprobs, watched, top))
    return generations


def _top(place: Mapping[str, float], count: int) -> tuple[tuple[int, float], ...]:
    """The likeliest ids of one position.

    Raises:
        ValueError: there are fewer, as when another request in the server's step watched ids.
    """
    found = {int(name.removeprefix("token_id:")): float(logprob) for name, logprob in place.items()}
    # A server writes -9999 for what it does not know.
    known = {id: logprob for id, logprob in found.items() if logprob > UNKNOWN}
    if len(known) < count:
        raise ValueError(f"{len(known)} of the {count} likeliest ids at one position")
    return likeliest(known, count)


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
