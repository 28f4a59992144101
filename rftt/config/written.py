"""Settings as they are written: ``run=12e4`` names a folder where text is wanted, and is a number where one is wanted."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from typing import Any, Literal

import yaml


@dataclass(frozen=True)
class Written:
    """A word that YAML takes for a number, a truth value, a date or nothing.

    Args:
        text: text as it is written.
        value: what YAML takes it for.
    """

    text: str
    value: Any


class WrittenLoader(yaml.SafeLoader):
    """Gives `Written` for such words, and refuses a key that a mapping sets twice."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        before: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in before:
                raise yaml.composer.ComposerError(
                    None, None, f"{key.value[:60]} is set twice; leave one out", key.start_mark
                )
            before.add(key.value if isinstance(key, yaml.ScalarNode) else "")
        return node


def _written(tag: str) -> None:
    plain = yaml.SafeLoader.yaml_constructors[tag]

    def construct(loader: WrittenLoader, node: yaml.ScalarNode) -> Any:
        value = plain(loader, node)
        return Written(node.value, value) if node.style is None else value

    WrittenLoader.add_constructor(tag, construct)


for _kind in ("int", "float", "bool", "null", "timestamp"):
    _written(f"tag:yaml.org,2002:{_kind}")


def as_meant(kind: Any, value: Any) -> Any:
    """The value with its words as text where `kind` wants text, and as what YAML takes them for everywhere else.

    Args:
        kind: type of the field, a dataclass for a section.
        value: value from `WrittenLoader`.
    """
    if isinstance(value, Written):
        return value.text if _wants_text(kind) and value.value is not None else value.value
    if isinstance(value, dict):
        if dataclasses.is_dataclass(kind):
            kinds = typing.get_type_hints(kind)
            return {_text(k): as_meant(kinds.get(_text(k), Any), v) for k, v in value.items()}
        choices = typing.get_args(kind)
        inner = choices[1] if typing.get_origin(kind) is dict else Any
        return {as_meant(Any, k): as_meant(inner, v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set)):
        choices = typing.get_args(kind)
        inner = choices[0] if typing.get_origin(kind) is tuple else Any
        return [as_meant(inner, part) for part in value]
    return value


def number(value: Any) -> Any:
    """The value as a number where YAML reads one as text: ``1e-6``."""
    if isinstance(value, str):
        try:
            return float(value) if any(c.isdigit() for c in value) and "e" in value.lower() else value
        except ValueError:
            return value
    return value


def _wants_text(kind: Any) -> bool:
    choices = typing.get_args(kind)
    if typing.get_origin(kind) is Literal:
        return all(isinstance(choice, str) for choice in choices)
    if type(None) in choices or typing.get_origin(kind) is tuple:  # one value may stand for a tuple of one
        return _wants_text(choices[0])
    return kind is str


def _text(key: Any) -> str:
    return key.text if isinstance(key, Written) else str(key)
