"""How a model is asked: ``model.chat_template``, ``model.system`` and ``model.chat_template_kwargs`` in its own template.

The settings stand at the head of the chat template itself. So they travel with every model that is trained from the one that
`rftt tokens` makes, and whatever renders a conversation with it (a search, a trainer, a server of another make) asks as this
run did. A comment in front holds them as data, by which a model says how it wants to be asked.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rftt.config.sections import ModelConfig
from rftt.errors import UsageError
from search.prompt import habits_of

log = logging.getLogger(__name__)

_HEAD = re.compile(r"\{#- rftt (\{.*?\}) -#\}", re.DOTALL)
_TAIL = "{{- '' }}"  # unlike a block, it takes no line end from the template that follows


@dataclass(frozen=True)
class Asking:
    """How a model is asked.

    Args:
        system: text of the system turn of conversations that have none; None leaves it to the template.
        kwargs: variables of the chat template, e.g. ``{"enable_thinking": False}``.
    """

    system: str | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.system is not None or bool(self.kwargs)


def ask_as_configured(tokenizer: Any, model: ModelConfig, where: str) -> None:
    """Give a tokenizer the chat template of a config, with its settings at the head.

    A model that was trained to be asked in some way keeps to it.

    Args:
        tokenizer: tokenizer to change.
        model: section ``model`` of the config.
        where: name of the tokenizer's model, for messages.

    Raises:
        UsageError: the model was trained to be asked otherwise; the file of a template cannot be read; or there is no
            template, or one that does not write what the user says.
    """
    wanted, own = Asking(model.system, model.chat_template_kwargs), asking_of(tokenizer)
    if own and wanted and own != wanted:
        raise UsageError(
            f"{where}: it was trained to be asked with {_shown(own)}, and model.system and model.chat_template_kwargs say "
            f"{_shown(wanted)}; leave them out, or take the un-tuned model"
        )
    if model.chat_template is not None:
        given = _read(model.chat_template)
        if own and given != _bare(_only(tokenizer)):
            raise UsageError(
                f"{where}: it was trained with another chat template than model.chat_template ({model.chat_template}); "
                "leave that out, or take the un-tuned model"
            )
        if not own:
            tokenizer.chat_template = given
    if not tokenizer.chat_template:
        raise UsageError(
            f"{where} has no chat template; name the file of one with model.chat_template=FILE (Jinja, as in "
            "chat_template.jinja), or take the instruction-tuned variant"
        )
    try:
        if not own and wanted:
            template = tokenizer.chat_template
            # A template may need its variables to say anything at all.
            tokenizer.chat_template = _with_head(template, Asking(None, wanted.kwargs))
            habits = habits_of(tokenizer)
            tokenizer.chat_template = _with_head(template, wanted, habits.system, habits.parts)
        habits_of(tokenizer)
    except ValueError as error:
        raise UsageError(f"{where}: {error}; model.chat_template=FILE gives another one") from error
    if "strftime_now" in str(tokenizer.chat_template) and "date_string" not in {**wanted.kwargs, **own.kwargs}:
        log.warning(
            "%s: its chat template may write today's date into every prompt; fix it with "
            "model.chat_template_kwargs.date_string", where,
        )  # fmt: skip


def asking_of(tokenizer: Any) -> Asking:
    """The settings that stand at the head of a tokenizer's chat template."""
    found = _HEAD.match(_only(tokenizer))
    if found is None:
        return Asking()
    record = json.loads(found[1])
    return Asking(record["system"], record["chat_template_kwargs"])


def _with_head(template: Any, asking: Asking, system_turn: bool = True, parts: bool = False) -> Any:
    """The template with settings at its head; of several named ones, each."""
    if isinstance(template, dict):
        return {name: _with_head(one, asking, system_turn, parts) for name, one in template.items()}
    record = {"system": asking.system, "chat_template_kwargs": asking.kwargs}
    head = "{#- rftt " + _json(record) + " -#}"
    for name, value in asking.kwargs.items():
        head += f"{{%- set {name} = {_literal(value)} -%}}"
    if asking.system:
        content = _literal(asking.system)
        if system_turn:
            said = f"[{{'type': 'text', 'text': {content}}}]" if parts else content
            messages = f"[{{'role': 'system', 'content': {said}}}] + messages"
        else:  # the template has no system turn: its text stands before the user's first
            begin = _literal(asking.system + "\n\n")
            first = "messages[0]['content']"
            said = f"[{{'type': 'text', 'text': {begin}}}] + {first}" if parts else f"{begin} + {first}"
            messages = f"[{{'role': messages[0]['role'], 'content': {said}}}] + messages[1:]"
        unsaid = "messages and messages[0]['role'] == 'user'"
        head += f"{{%- if {unsaid} -%}}{{%- set messages = {messages} -%}}{{%- endif -%}}"
    return head + _TAIL + template


def _bare(template: str) -> str:
    """The template without the settings at its head."""
    return template.split(_TAIL, 1)[1] if _HEAD.match(template) and _TAIL in template else template


def _literal(value: Any) -> str:
    """A value as Jinja writes it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_literal(str(k))}: {_literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_literal(v) for v in value) + "]"
    if isinstance(value, str):
        return _json(value)
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)


def _json(value: Any) -> str:
    """A value as JSON that neither ends a comment of Jinja nor looks like `_TAIL`; its strings are Jinja's as well."""
    return json.dumps(value, ensure_ascii=False).replace("#}", "\\u0023}").replace("{{", "{\\u007b")


def _only(tokenizer: Any) -> str:
    """The template of plain conversations."""
    template = tokenizer.chat_template
    return str(template.get("default", "")) if isinstance(template, dict) else str(template or "")


def _read(path: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"model.chat_template: {path} cannot be read ({' '.join(str(error).split())}); give a file with a Jinja template"
        ) from error


def _shown(asking: Asking) -> str:
    return f"system={asking.system!r} and {json.dumps(asking.kwargs)}"
