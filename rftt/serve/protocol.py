"""What a request says: bodies of chat completions and completions read strictly, and errors in OpenAI's form.

Pure functions on plain data. A field that would change the answer is honoured or refused, never passed over; fields with
`NEUTRAL` values ask for nothing that is not done anyway, and those of `BOOKKEEPING` are about the caller's accounts.
Many clients send a temperature with every request: where nothing is sampled (`DETERMINISTIC`) it is taken, has no say, and
the response tells so.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from search.config import SearchConfig
from search.strategies import AUTO, STRATEGIES

MOST_STOPS, MOST_PROMPTS = 16, 64
REASONING = ("functional", "text", "none")
DETERMINISTIC = ("greedy", "best_first")  # strategies that sample nothing
BOOKKEEPING = frozenset({
    "metadata", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "service_tier", "store", "user",
    "parallel_tool_calls",
})  # fmt: skip
# Fields that are not served, with the values that ask for nothing; null always does.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,), "best_of": (1,), "suffix": ("",), "logprobs": (False,), "top_logprobs": (0,), "logit_bias": ({},),
    "frequency_penalty": (0,), "presence_penalty": (0,), "repetition_penalty": (1,), "top_k": (0, -1), "min_p": (0,),
    "tools": ([],), "tool_choice": ("none", "auto"), "functions": ([],), "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},), "modalities": (["text"],), "audio": (), "prediction": (),
    "reasoning_effort": (), "verbosity": (), "web_search_options": (), "chat_template_kwargs": ({},), "echo": (False,),
}  # fmt: skip
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
MESSAGE_FIELDS = frozenset({"role", "content", "name", "reasoning_content", "reasoning"})
# What clients send back with an earlier answer, as they got it.
MESSAGE_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "refusal": (), "annotations": ([],), "audio": (), "tool_calls": ([],), "function_call": (),
}  # fmt: skip
RESERVED = "\x02question\x03"  # by which prompted searches find the question in the chat template


class ApiError(Exception):
    """A request that gets no answer.

    Args:
        status: HTTP status.
        message: what is wrong, where, and the remedy.
        param: the field that is to blame.
        code: names the reason for programs.
        headers: headers of the response.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code, self.headers = status, message, param, code, headers or {}

    def to_json(self) -> dict[str, Any]:
        return {
            "error": {"message": self.message, "type": error_type(self.status), "param": self.param, "code": self.code}
        }


def error_type(status: int) -> str:
    known = {401: "authentication_error", 429: "rate_limit_error", 504: "timeout_error"}
    return known.get(status, "invalid_request_error" if status < 500 else "server_error")


def refuse(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    return ApiError(400, message, param=param, code=code)


@dataclass(frozen=True)
class Offer:
    """What the server does where a body says nothing, and how far a body may go.

    Args:
        model: name under which the model is served.
        strategy: one of `search.strategies.STRATEGIES`.
        search: settings of every search.
        max_rollouts: most rollouts of one request.
        max_budget: tokens after which one request begins nothing more.
    """

    model: str
    strategy: str
    search: SearchConfig
    max_rollouts: int = 64
    max_budget: int = 65536


@dataclass(frozen=True)
class Ask:
    """A body that was understood.

    Args:
        messages: role and text of each; the last one is the user's.
        strategy: strategy of the search.
        search: its settings.
        max_tokens: longest chain; None leaves it to `search`.
        stream: answer as server-sent events.
        include_usage: whether a stream ends with the usage.
        reasoning: the chain as ``functional`` steps in their tags, as ``text``, or ``none``.
        tree: whether the tree is wanted.
        confidence: whether the answer's share of the vote is wanted.
        stop: texts before which the answer ends; what the search does is not changed by them.
    """

    messages: tuple[dict[str, str], ...]
    strategy: str
    search: SearchConfig
    max_tokens: int | None = None
    stream: bool = False
    include_usage: bool = False
    reasoning: str = "functional"
    tree: bool = False
    confidence: bool = False
    stop: tuple[str, ...] = ()


def read_json(data: bytes) -> dict[str, Any]:
    """The JSON object of a body.

    Raises:
        ApiError: 400.
    """
    try:
        body = json.loads(data.decode(), parse_constant=_no_constant)
    except RecursionError:
        raise refuse("the body is nested too deeply", code="invalid_json") from None
    except ValueError as error:
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)[:200]
        raise refuse(f"the body is not valid JSON: {reason}", code="invalid_json") from None
    if not isinstance(body, dict):
        raise refuse(f"the body is {described(body)}, expected a JSON object", code="invalid_json")
    return body


def parse(body: dict[str, Any], offer: Offer) -> Ask:
    """Understand a body of ``/v1/chat/completions``.

    Args:
        body: a JSON object.
        offer: defaults and bounds.

    Raises:
        ApiError: 400 with the field that is wrong; 404 for another model.
    """
    for name in body:
        if name not in FIELDS and name not in NEUTRAL and name not in BOOKKEEPING and name not in OWN:
            near = difflib.get_close_matches(name[:64], [*FIELDS, *OWN], n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise refuse(f"unknown field {described(name)}{hint}", name[:64], "unknown_parameter")
    for name, allowed in NEUTRAL.items():
        if not _neutral(body.get(name), allowed):
            raise refuse(
                f"{name}: {described(body[name])} is not supported by a server that searches; leave the field out",
                name,
                "unsupported_parameter",
            )
    if not isinstance(body.get("model"), str):
        raise refuse(f"model: {described(body.get('model'))}, expected the name of a model", "model")
    if body["model"] != offer.model:
        raise ApiError(
            404,
            f"model: {described(body['model'])} is not served here, expected {offer.model!r}",
            param="model",
            code="model_not_found",
        )
    messages = _messages(body.get("messages"))
    found = {name: check(body[name], name) for name, check in FIELDS.items() if body.get(name) is not None}
    stream = found.get("stream", False)
    return Ask(
        messages,
        *_search(found, offer),
        max_tokens=_longest(found),
        stream=stream,
        include_usage=_stream_options(body.get("stream_options"), stream),
        reasoning=found.get("reasoning", REASONING[0]),
        tree=_wants_tree(found, offer),
        confidence=found.get("confidence", False),
        stop=_stop(body.get("stop")),
    )


def parse_completions(body: dict[str, Any], offer: Offer) -> list[Ask]:
    """Understand a body of ``/v1/completions``: each prompt is asked as a question of its own.

    Raises:
        ApiError: as `parse`; 400 for token ids, streams and other fields that only go with chat completions.
    """
    for name in ("messages", "stream_options"):
        if body.get(name) is not None:
            raise refuse(f"{name} goes with /v1/chat/completions; here it is prompt", name)
    if body.get("stream"):
        raise refuse("stream: true goes with /v1/chat/completions only", "stream", "unsupported_parameter")
    prompts = body.get("prompt")
    prompts = [prompts] if isinstance(prompts, str) else prompts
    if not isinstance(prompts, list) or not prompts:
        raise refuse(f"prompt: {described(prompts)}, expected text or a list of texts", "prompt")
    if len(prompts) > MOST_PROMPTS:
        raise refuse(f"prompt: {len(prompts)} texts, this server takes at most {MOST_PROMPTS} at once", "prompt")
    if not all(isinstance(prompt, str) for prompt in prompts):
        raise refuse(
            "prompt: token ids are not read here, since the question is put into the model's chat template; send text "
            "(lm-evaluation-harness: tokenized_requests=False)",
            "prompt",
        )
    shared = {
        name: value for name, value in body.items() if name not in ("prompt", "messages", "stream_options", "stream")
    }
    return [parse({**shared, "messages": [{"role": "user", "content": prompt}]}, offer) for prompt in prompts]


def _stop(given: Any) -> tuple[str, ...]:
    """The texts of ``stop``; empty ones ask for nothing."""
    texts = [given] if isinstance(given, str) else [] if given is None else given
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise refuse(f"stop: {described(given)}, expected text or a list of texts", "stop")
    if len(texts) > MOST_STOPS:
        raise refuse(f"stop: {len(texts)} texts, expected at most {MOST_STOPS}", "stop")
    return tuple(text for text in texts if text)


def described(value: Any) -> str:
    """A value for an error message: short, whatever it is."""
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, str):
        return repr(value[:40]) + ("…" if len(value) > 40 else "")
    return json.dumps(value)[:40]


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _neutral(value: Any, allowed: tuple[Any, ...]) -> bool:
    if value is None:
        return True
    return any(isinstance(value, bool) is isinstance(one, bool) and value == one for one in allowed)


Check = Callable[[Any, str], Any]


def _whole(low: int, high: float = math.inf) -> Check:
    def check(value: Any, name: str) -> int:
        if type(value) is not int or not low <= value <= high:
            to = f"{low} or more" if high == math.inf else f"{low} to {high}"
            raise refuse(f"{name}: {described(value)} is not allowed, expected a whole number, {to}", name)
        return value

    return check


def _number(low: float, high: float, *, above: bool = False) -> Check:
    def check(value: Any, name: str) -> float:
        good = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not good or not low <= value <= high or (above and value == low):
            to = f"more than {low:g} and at most {high:g}" if above else f"{low:g} to {high:g}"
            raise refuse(f"{name}: {described(value)} is not allowed, expected a number, {to}", name)
        return float(value)

    return check


def _one_of(*choices: str) -> Check:
    def check(value: Any, name: str) -> str:
        if value not in choices or not isinstance(value, str):
            raise refuse(f"{name}: {described(value)} is not allowed, expected one of {', '.join(choices)}", name)
        return value

    return check


def _boolean(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise refuse(f"{name}: {described(value)} is not allowed, expected true or false", name)
    return value


FIELDS: dict[str, Check] = {
    "max_completion_tokens": _whole(1),
    "max_tokens": _whole(1),
    "temperature": _number(0, 2),
    "top_p": _number(0, 1, above=True),
    "seed": _whole(-(2**63), 2**63 - 1),
    "stream": _boolean,
    "rollouts": _whole(1),
    "budget_tokens": _whole(1),
    "strategy": _one_of(*STRATEGIES),
    "reasoning": _one_of(*REASONING),
    "tree": _boolean,
    "confidence": _boolean,
}
OWN = frozenset({"model", "messages", "stream_options", "stop"})  # with a form of their own


def _search(found: dict[str, Any], offer: Offer) -> tuple[str, SearchConfig]:
    """The strategy and its settings."""
    strategy = found.get("strategy", offer.strategy)
    for name, most in (("rollouts", offer.max_rollouts), ("budget_tokens", offer.max_budget)):
        if found.get(name, 0) > most:
            raise refuse(f"{name}: {described(found[name])} is not allowed, this server takes at most {most}", name)
    if strategy == "greedy" and found.get("rollouts", 1) != 1:
        raise refuse(f"rollouts: {described(found['rollouts'])} does not go with strategy greedy", "rollouts")
    names = ("rollouts", "budget_tokens", "seed", "temperature", "top_p")
    changes = {name: found[name] for name in names if name in found}
    if "temperature" in found:  # of whatever the strategy samples
        changes |= {"step_temperature": None, "vote_temperature": None}
    if (longest := _longest(found)) is not None:
        changes |= {"max_tokens": longest, "max_step_tokens": min(longest, offer.search.max_step_tokens)}
    try:
        search = replace(offer.search, **changes)
    except ValueError as error:  # its bounds are narrower in places
        raise refuse(str(error), str(error).partition(":")[0]) from None
    chains = 1 if strategy == "greedy" else search.rollouts
    # Others generate step by step, with siblings and second attempts: there a budget that is not reached changes nothing.
    in_chains = strategy in ("greedy", "majority", "best_of_n", "best_first")
    if search.budget_tokens is None and not (in_chains and chains * search.max_tokens <= offer.max_budget):
        search = replace(search, budget_tokens=offer.max_budget)
    return strategy, search


def _longest(found: dict[str, Any]) -> int | None:
    """Both names of the same limit; the lower one, if both are given."""
    given = [found[name] for name in ("max_tokens", "max_completion_tokens") if name in found]
    return min(given, default=None)


def _wants_tree(found: dict[str, Any], offer: Offer) -> bool:
    strategy = found.get("strategy", offer.strategy)
    if found.get("tree") and strategy not in (AUTO, "mcts", "best_first"):
        raise refuse(f"tree: true does not go with strategy {strategy}, only best_first and mcts grow one", "tree")
    return bool(found.get("tree"))


def _stream_options(options: Any, stream: bool) -> bool:
    if options is None:
        return False
    if not isinstance(options, dict) or set(options) - {"include_usage", "include_obfuscation"}:
        raise refuse("stream_options: expected an object with include_usage", "stream_options")
    if not stream:
        raise refuse("stream_options goes with stream: true only", "stream_options")
    found = {name: _boolean(v, f"stream_options.{name}") for name, v in options.items() if v is not None}
    return found.get("include_usage", False)


def _messages(messages: Any) -> tuple[dict[str, str], ...]:
    if not isinstance(messages, list) or not messages:
        raise refuse(f"messages: {described(messages)}, expected a list of one or more messages", "messages")
    read = tuple(_message(message, f"messages[{i}]") for i, message in enumerate(messages))
    if read[-1]["role"] != "user":
        raise refuse(f"messages[{len(read) - 1}].role: the last message must be the user's", "messages")
    if not read[-1]["content"].strip():
        raise refuse(f"messages[{len(read) - 1}].content is empty; write a question", "messages")
    return read


def _message(message: Any, where: str) -> dict[str, str]:
    if not isinstance(message, dict):
        raise refuse(f"{where}: {described(message)}, expected an object with role and content", "messages")
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise refuse(f"{where}.role: {described(role)} is not allowed, expected one of {', '.join(ROLES)}", "messages")
    for name, value in message.items():
        if name not in MESSAGE_FIELDS and not _neutral(value, MESSAGE_NEUTRAL.get(name, ())):
            raise refuse(f"{where}: {described(name)} is not supported; leave it out", "messages")
    text = _text(message.get("content"), f"{where}.content")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise refuse(f"{where}.content holds half a surrogate pair, which is no text", "messages") from None
    if RESERVED in text:
        raise refuse(f"{where}.content holds the reserved sequence {RESERVED!r}", "messages")
    return {"role": ROLES[role], "content": text}


def _text(content: Any, where: str) -> str:
    """The text of a message, which may come in parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        raise refuse(f"{where}: {described(content)}, expected text", "messages")
    texts = []
    for i, part in enumerate(content):
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            kind = part.get("type") if isinstance(part, dict) else part
            raise refuse(f"{where}[{i}]: {described(kind)}, expected a part of type text; the model reads text only",
                         "messages")  # fmt: skip
        texts.append(part["text"])
    return "".join(texts)
