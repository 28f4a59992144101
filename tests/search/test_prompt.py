"""Prompts by templates that behave as those of published models."""

from __future__ import annotations

import pytest

from search.prompt import (
    chain_ids,
    encode,
    end_ids,
    end_of_turn,
    habits_of,
    prompt_ids,
    prompt_text,
    question_ids,
    text_of,
)
from tests.search.fakes import CharTokenizer
from tests.templates import FAMILIES, family_tokenizer
from tests.tiny import build_tokenizer

QUESTION = "What is the sum of the numbers?"
PLAIN = {name: family for name, family in FAMILIES.items() if not family.settings}


@pytest.mark.parametrize("name", PLAIN)
def test_prompt_of_every_family_asks_the_question_once_and_opens_the_turn(name):
    family = FAMILIES[name]
    tokenizer = family_tokenizer(family)
    ids = question_ids(tokenizer, QUESTION)
    text = tokenizer.decode(ids)
    assert text.count(QUESTION) == 1 and text.endswith(family.opens)
    assert ids.count(tokenizer.bos_token_id) == (1 if family.bos else 0)
    assert ids == encode(tokenizer, text)


@pytest.mark.parametrize("name", PLAIN)
def test_end_of_turn_is_what_the_template_writes_there(name):
    family = FAMILIES[name]
    tokenizer = family_tokenizer(family)
    vocabulary = tokenizer.get_vocab()
    assert end_of_turn(tokenizer) == vocabulary[family.end]
    assert end_ids(tokenizer, None) == {vocabulary[family.end], vocabulary[family.eos]}
    assert chain_ids(tokenizer, "The answer")[-1] == vocabulary[family.end]


@pytest.mark.parametrize("name", PLAIN)
def test_system_turn_reaches_every_prompt(name):
    family = FAMILIES[name]
    tokenizer = family_tokenizer(family)
    assert habits_of(tokenizer).system == family.system
    messages = [{"role": "system", "content": "Think first."}, {"role": "user", "content": QUESTION}]
    text = prompt_text(tokenizer, messages)
    assert text.count("Think first.") == 1 == text.count(QUESTION)
    if not family.system:
        assert f"Think first.\n\n{QUESTION}" in text


def test_two_system_turns_become_one_at_the_beginning():
    tokenizer = family_tokenizer(FAMILIES["gemma3"])
    turns = [
        ("user", "Hello"),
        ("assistant", "Hi"),
        ("system", "Be brief."),
        ("user", QUESTION),
        ("system", "Be kind."),
    ]
    text = prompt_text(tokenizer, [{"role": role, "content": content} for role, content in turns])
    assert "Be brief.\n\nBe kind.\n\nHello" in text


def test_begun_turn_is_the_end_of_the_prompt():
    tokenizer = build_tokenizer()
    messages = [{"role": "user", "content": QUESTION}]
    assert tokenizer.decode(prompt_ids(tokenizer, messages, "Step:")) == prompt_text(tokenizer, messages) + "Step:"


def test_messages_before_come_from_the_tokenizer_of_a_conversation():
    tokenizer = CharTokenizer()
    tokenizer.earlier = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
    text = tokenizer.decode(question_ids(tokenizer, QUESTION))
    assert text == f"[user]Hello\n[assistant]Hi\n[user]{QUESTION}\n[assistant]"


def test_template_without_the_question_is_refused_before_anything_is_asked():
    tokenizer = build_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m['text'] }}{% endfor %}"
    with pytest.raises(ValueError, match="does not write what the user says"):
        question_ids(tokenizer, QUESTION)


def test_template_that_refuses_the_messages_says_why():
    tokenizer = family_tokenizer(FAMILIES["gemma2"])
    with pytest.raises(ValueError, match="refuses the messages: Conversation roles must alternate"):
        prompt_text(tokenizer, [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}])


def test_no_end_token_anywhere_is_refused():
    tokenizer = build_tokenizer()
    tokenizer.eos_token = None
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
    with pytest.raises(ValueError, match="eos_token"):
        chain_ids(tokenizer, "x")
    assert end_ids(tokenizer, [7]) == {7}


def test_contents_are_text_or_refused():
    assert text_of(None) == "" and text_of("a") == "a"
    assert text_of([{"type": "text", "text": "a"}, "b"]) == "ab"
    with pytest.raises(ValueError, match="of type 'image_url'"):
        text_of([{"type": "image_url", "image_url": {"url": "x"}}])
    with pytest.raises(ValueError, match="of type int"):
        text_of(3)


@pytest.mark.parametrize("name", PLAIN)
def test_control_tokens_that_a_user_types_stay_text(name):
    family = FAMILIES[name]
    tokenizer = family_tokenizer(family)
    vocabulary = tokenizer.get_vocab()
    typed = f" What does {family.end} mean?"
    ids, plain = question_ids(tokenizer, typed), question_ids(tokenizer, " What does it mean?")
    assert ids.count(vocabulary[family.end]) == plain.count(vocabulary[family.end])
    assert tokenizer.decode(ids) == prompt_text(tokenizer, [{"role": "user", "content": typed}])


def test_only_tags_are_control_tokens_of_a_chain():
    from transformers import AddedToken

    tokenizer = build_tokenizer()
    tokenizer.add_tokens([AddedToken("<output>", special=False), AddedToken("</output>", special=False)])
    chain = "<output>\nwrite <|im_end|> and \\boxed{1}\n</output>\n"
    ids = chain_ids(tokenizer, chain)
    assert ids.count(tokenizer.eos_token_id) == 1 and ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(ids[:-1]) == chain
    assert ids[0] == tokenizer.get_vocab()["<output>"] and ids[-3] == tokenizer.get_vocab()["</output>"]


def test_prompt_of_the_toy_is_what_its_template_renders():
    """Results with the toy depend on these ids: they are those of a plain rendering."""
    from rftt.toy.base import END, START, TEMPLATE

    tokenizer = build_tokenizer()
    tokenizer.chat_template = TEMPLATE
    rendered = f"{START}user\nWork modulo 10:k=3,l=k+4.(k,l)=?{END}\n{START}assistant\n"
    assert question_ids(tokenizer, "Work modulo 10:k=3,l=k+4.(k,l)=?") == tokenizer(rendered)["input_ids"]
