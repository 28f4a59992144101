r"""A token set as a YAML file: ``model.functions: FILE.yaml`` in a config, ``functions.yaml`` beside a model's tokenizer.

    functions:
      - {name: plan, description: think of a plan, prompt: Give a short plan., children: 2}
      - {name: solve, description: finish the solution, prompt: 'Finish. Put the answer in \boxed{}.', children: 1}
      - {name: answer, description: state the final answer}
    answering: solve
    terminal: answer
    prompted: {question: [plan, solve], plan: [solve]}
    functional: {question: [plan, solve], plan: [solve], solve: [answer]}

``checking`` and ``correcting`` go together; a set without them has no merged chains. ``merge_prompt`` lets the model write
the checking step, which is written by rule without it.

A function may also say ``label``, ``form``, ``length``, ``sentences``, ``ends``, ``valid``, ``continued``, ``anew``,
``varied`` and ``unused`` (`search.functions.Function`); ``continued`` and ``anew`` map rules to words.
With worked examples phase 1 asks by transcript; a line is one function with its text:

    examples:
      - question: Ada has 3 boxes of 7 pens and gives 4 pens away. How many are left?
        lines: [{plan: Count the pens and take away 4.}, {solve: 'There are 3 * 7 - 4 = 17, so \boxed{17}.'}]
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from search.functions import ROOT, Function, FunctionSet
from search.worked_examples import WorkedExample
from search.yaml_text import read_yaml

FILE = "functions.yaml"
# Beside the tokenizer of an un-tuned model: the set it is asked with unless another is given.
SUGGESTED = "suggested_functions.yaml"


def read_functions(path: Path) -> FunctionSet:
    """The token set of a YAML file.

    Raises:
        ValueError: the file cannot be read, or what it says is not a token set; one line with file, place and remedy.
    """
    values = read_yaml(path, _UniqueKeys)
    try:
        return from_plain(values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def write_functions(functions: FunctionSet) -> str:
    """The text of the YAML file that `read_functions` reads as the same token set."""
    return yaml.safe_dump(to_plain(functions), sort_keys=False, allow_unicode=True, width=120)


def to_plain(functions: FunctionSet) -> dict[str, Any]:
    """A token set as mappings, lists, text and numbers."""
    values: dict[str, Any] = {"functions": [_plain_function(f) for f in functions.functions]}
    roles = ("answering", "terminal", "checking", "correcting", "merge_prompt")
    values |= {name: value for name in roles if (value := getattr(functions, name))}
    for table in ("prompted", "functional"):
        values[table] = {parent: list(children) for parent, children in getattr(functions, table).items()}
    if functions.examples:
        values["examples"] = [
            {"question": e.question, "lines": [{name: text} for name, text in e.lines]} for e in functions.examples
        ]
    return values


def _plain_function(function: Function) -> dict[str, Any]:
    """A function without what it leaves at its default, but for its prompt and its children."""
    defaults = {f.name: f.default for f in dataclasses.fields(Function) if f.name not in ("prompt", "children")}
    values = {k: v for k, v in dataclasses.asdict(function).items() if k not in defaults or v != defaults[k]}
    values |= {k: dict(values[k]) for k in ("continued", "anew") if k in values}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def from_plain(values: Any) -> FunctionSet:
    """The token set that `to_plain` took apart.

    Raises:
        ValueError: an unknown or missing key, a value of the wrong type, or what `FunctionSet` refuses.
    """
    keys = [f.name for f in dataclasses.fields(FunctionSet)]
    _check_keys(values, keys, "the file")
    listed = values.get("functions")
    if not isinstance(listed, list) or not listed:
        raise ValueError("functions: expected a list of functions, each with name and description")
    functions = tuple(_function(entry, number) for number, entry in enumerate(listed, 1))
    tables: dict[str, Any] = {name: _table(values.get(name), name) for name in ("prompted", "functional")}
    others = ("functions", "examples", *tables)
    roles: dict[str, Any] = {name: _text(values[name], name) for name in values if name not in others}
    for name in ("answering", "terminal"):
        if name not in roles:
            raise ValueError(f"{name}: missing, expected the name of a function")
    return FunctionSet(functions, **tables, **roles, examples=_examples(values.get("examples", [])))


def difference(one: FunctionSet, other: FunctionSet) -> str:
    """The first thing in which two token sets differ, in words; empty for equal ones."""
    if one.names != other.names:
        return f"functions {', '.join(one.names)} and {', '.join(other.names)}"
    for a, b in zip(one.functions, other.functions, strict=True):
        for field in dataclasses.fields(Function):
            if getattr(a, field.name) != getattr(b, field.name):
                return f"the {field.name} of {a.name}"
    for field in dataclasses.fields(FunctionSet):
        if getattr(one, field.name) != getattr(other, field.name):
            return field.name
    return ""


def _function(entry: Any, number: int) -> Function:
    where = f"functions[{number}]"
    _check_keys(entry, [f.name for f in dataclasses.fields(Function)], where)
    for name in ("name", "description"):
        if name not in entry:
            raise ValueError(f"{where}.{name}: missing, expected text")
    return Function(**{name: _READ.get(name, _text)(value, f"{where}.{name}") for name, value in entry.items()})


def _examples(value: Any) -> tuple[WorkedExample, ...]:
    if not isinstance(value, list):
        raise ValueError(f"examples is {type(value).__name__}, expected a list of worked questions")
    found = []
    for number, entry in enumerate(value, 1):
        where = f"examples[{number}]"
        _check_keys(entry, ["question", "lines"], where)
        lines = entry.get("lines")
        if not isinstance(lines, list) or any(not isinstance(line, dict) or len(line) != 1 for line in lines):
            raise ValueError(f"{where}.lines: expected a list of lines, each one function with its text")
        pairs = [pair for line in lines for pair in line.items()]
        texts = tuple((_text(name, f"{where}.lines"), _text(text, f"{where}.{name}")) for name, text in pairs)
        found.append(WorkedExample(_text(entry.get("question"), f"{where}.question"), texts))
    return tuple(found)


def _table(value: Any, name: str) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict) or ROOT not in value:
        raise ValueError(f"{name}: expected a mapping from {ROOT} and from functions to lists of functions")
    table = {}
    for parent, children in value.items():
        if not isinstance(children, list):
            raise ValueError(f"{name}.{parent} is {children!r}, expected a list of functions")
        table[_text(parent, name)] = tuple(_text(child, f"{name}.{parent}") for child in children)
        if len(set(children)) < len(children):
            raise ValueError(f"{name}.{parent}: a function occurs twice")
    return table


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{where}: {value!r} is no text; YAML reads yes, no, on, off and numbers so, put it in quotes")
    if any(not c.isprintable() and c not in "\n\t" for c in value):
        raise ValueError(
            f"{where} holds a control character; in double quotes YAML reads \\b as one, use single quotes"
        )
    return value


def _texts(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{where} is {value!r}, expected a list of texts")
    return tuple(_text(item, where) for item in value)


def _words(value: Any, where: str) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {value!r}, expected a mapping from rules to words")
    return tuple((_text(rule, where), _text(words, f"{where}.{rule}")) for rule, words in value.items())


def _flag(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{where} is {value!r}, expected true or false")
    return value


def _count(value: Any, where: str) -> int:
    if type(value) is not int:
        raise ValueError(f"{where} is {value!r}, expected a whole number")
    return value


def _share(value: Any, where: str) -> float:
    if type(value) not in (int, float):
        raise ValueError(f"{where} is {value!r}, expected a share between 0 and 1")
    return float(value)


# How the values of a function are read that are not text.
_READ: dict[str, Callable[[Any, str], Any]] = {
    "children": _count, "length": _share, "sentences": _count, "ends": _texts, "valid": _texts,
    "continued": _words, "anew": _words, "varied": _flag, "unused": _flag,
}  # fmt: skip


def _check_keys(values: Any, known: Iterable[str], where: str) -> None:
    listed = list(known)
    if not isinstance(values, dict):
        raise ValueError(f"{where} is {type(values).__name__}, expected a mapping with {', '.join(listed)}")
    for key in values:
        if key not in listed:
            close = difflib.get_close_matches(str(key), listed, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(listed)}"
            raise ValueError(f"{where}: {key} is unknown; {hint}")


class _UniqueKeys(yaml.SafeLoader):
    """A loader that refuses a key that occurs twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = key_node.value
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key} occurs twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)
