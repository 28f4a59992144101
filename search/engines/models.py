"""What servers say they serve (``/v1/models``), and whether they agree."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

from search.engines.engine import EngineError

Cards = list[dict[str, Any]]  # as OpenAI's API lists models; vLLM adds root (what was loaded) and max_model_len


@dataclass(frozen=True)
class Served:
    """The model of all servers.

    Args:
        name: under which it is asked for.
        names: that name and names of what was loaded under it, on any server.
        max_model_len: longest prompt plus continuation that every server takes.
    """

    name: str
    names: frozenset[str]
    max_model_len: int


def list_models(
    urls: Sequence[str], headers: Mapping[str, str], timeout: float
) -> tuple[dict[str, Cards], dict[str, str]]:
    """Ask all servers at once.

    Returns:
        The models of each server that answers, and why each other one does not.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(url: str) -> Cards | str:
        try:
            request = urllib.request.Request(f"{url}/v1/models", headers=dict(headers))
            with opener.open(request, timeout=timeout) as answer:
                return _cards(json.load(answer))
        except urllib.error.HTTPError as error:
            return f"HTTP {error.code}"
        except (OSError, HTTPException, ValueError) as error:
            return " ".join(str(getattr(error, "reason", error)).split()) or type(error).__name__

    with ThreadPoolExecutor(max(1, min(32, len(urls)))) as threads:
        answers = dict(zip(urls, threads.map(ask, urls), strict=True))
    listed = {url: answer for url, answer in answers.items() if not isinstance(answer, str)}
    return listed, {url: answer for url, answer in answers.items() if isinstance(answer, str)}


def agree_on_model(listed: Mapping[str, Cards], name: str | None, max_model_len: int | None) -> Served:
    """The one model that all servers serve.

    Args:
        listed: models of each server.
        name: the one that is wanted; None takes the only one that they list.
        max_model_len: the length that is wanted; None takes the shortest of theirs.

    Raises:
        EngineError: there is no such model, or a server takes only shorter texts.
    """
    if name is None:
        offers = {url: sorted(card["id"] for card in cards) for url, cards in listed.items()}
        if len({tuple(ids) for ids in offers.values()}) > 1 or len(next(iter(offers.values()))) != 1:
            told = "; ".join(f"{url}: {', '.join(ids) or 'none'}" for url, ids in offers.items())
            raise EngineError(
                f"the servers do not list one and the same model ({told}): name it with engine.options.model"
            )
        [name] = next(iter(offers.values()))
    for url, cards in listed.items():
        if problem := serves(cards, name, max_model_len or 1):
            raise EngineError(f"{url} {problem}")
    chosen = [card for cards in listed.values() for card in cards if card["id"] == name]
    lengths = [card["max_model_len"] for card in chosen if card.get("max_model_len")]
    roots = {card["root"] for card in chosen if card.get("root")}
    return Served(name, frozenset({name, *roots}), max_model_len or min(lengths))


def serves(answer: Any, name: str, max_model_len: int) -> str | None:
    """Why a server cannot take requests for a model, as the end of a sentence; None if it can.

    Args:
        answer: answer of ``/v1/models``, or the models in it.
        name: name of the model.
        max_model_len: longest prompt plus continuation that it must take.
    """
    cards = answer if isinstance(answer, list) else _cards(answer)
    card = next((card for card in cards if card["id"] == name), None)
    if card is None:
        return f"does not serve {name} but {', '.join(sorted(card['id'] for card in cards)) or 'nothing'}"
    length = card.get("max_model_len")
    if not length:
        return "does not tell its max_model_len: it must be a vLLM server"
    if length < max_model_len:
        return (
            f"takes {length} tokens, not {max_model_len}: start it with --max-model-len {max_model_len} or set "
            f"engine.max_model_len={length}"
        )
    return None


def _cards(answer: Any) -> Cards:
    try:
        cards = answer["data"]
        return [{**card, "id": str(card["id"])} for card in cards]
    except (KeyError, TypeError) as error:
        raise ValueError("its answer to /v1/models is not a list of models") from error
