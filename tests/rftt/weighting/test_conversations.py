"""Which tokens the assistant wrote, in any chat data; and outputs shuffled so that none keeps its own."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from rftt.config.sections import ModelConfig
from rftt.errors import UsageError
from rftt.model.templates import ask_as_configured
from rftt.sft.phase import chain_dataset
from rftt.weighting.conversations import conversations, derangement, encode, shuffled
from search.journal import read_jsonl
from tests.templates import FAMILIES, family_tokenizer

pytestmark = pytest.mark.weighting
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"a": "int"}}}]
TEMPLATE = (
    "{% if tools %}<|im_start|>system\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] or '' }}"
    "{% for call in m.get('tool_calls', []) %}{{ call | tojson }}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def talk(*turns, **more):
    roles = {"u": "user", "a": "assistant", "t": "tool"}
    return {"messages": [{"role": roles[t[0]], "content": t[1:]} for t in turns], **more}


def learnt_texts(row, tokenizer, **options):
    """The learnt text, by stretches of learnt tokens."""
    sample = encode(conversations([row], "x")[0], tokenizer, **options)
    texts, current = [], []
    for token, label in zip([*sample["input_ids"], 0], [*sample["labels"], -100], strict=True):
        if label != -100:
            assert label == token
            current.append(token)
        elif current:
            texts.append(tokenizer.decode(current))
            current = []
    return texts


@pytest.fixture
def tokenizer(model):
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def test_every_turn_of_the_assistant_is_learnt_to_its_end(tokenizer):
    texts = learnt_texts(talk("u1 + 1?", "a2", "uand 2 + 2?", "a4"), tokenizer)
    assert texts == ["2<|im_end|>", "4<|im_end|>"]


def test_tool_calls_are_learnt_and_what_tools_answer_is_not(tokenizer):
    row = talk("u1 + 1?", "a", "t2", "aIt is 2", tools=TOOLS)
    row["messages"][1]["tool_calls"] = [{"function": {"name": "add", "arguments": {"a": 1}}}]
    call, answer = learnt_texts(row, tokenizer)
    assert '"name": "add"' in call and answer == "It is 2<|im_end|>"
    import json

    assert learnt_texts({**row, "tools": json.dumps(TOOLS)}, tokenizer) == [call, answer], "tools as JSON text"


def test_marks_of_the_template_decide(tokenizer):
    marked = "{{ m['content'] or '' }}"
    with_marks = "{% if m['role'] == 'assistant' %}{% generation %}" + marked + "{% endgeneration %}{% else %}" + marked
    tokenizer.chat_template = TEMPLATE.replace(marked, with_marks + "{% endif %}")
    assert learnt_texts(talk("u1?", "a2", "u3?", "a4"), tokenizer) == ["2", "4"]


def with_system(*turns):
    row = talk(*turns)
    return {"messages": [{"role": "system", "content": "Be kind."}, *row["messages"]]}


@pytest.mark.parametrize("last_only", [False, True])
@pytest.mark.parametrize("name", FAMILIES)
def test_in_no_family_is_a_prompt_learnt_or_an_answer_cut(name, last_only):
    """Also where a system turn is written only while the user speaks last, or a thought is opened that is not kept."""
    family = FAMILIES[name]
    tokenizer = family_tokenizer(family)
    ask_as_configured(tokenizer, ModelConfig(chat_template_kwargs=family.settings), "x")
    answer = "The answer is the final number, 12."
    found = learnt_texts(with_system("uone", "aquite two", "uthree", f"a{answer}"), tokenizer, last_only=last_only)
    found = [text.removeprefix("<think>\n\n</think>\n\n").removeprefix(" ") for text in found]
    assert found == ["quite two" + family.end, answer + family.end][last_only:]


def test_of_marked_turns_only_the_last_one_is_learnt_where_that_is_asked_for():
    family = FAMILIES["mistral"]
    tokenizer = family_tokenizer(family)
    said = "{{- ' ' + m['content'] + eos_token }}"
    assert said in family.template
    tokenizer.chat_template = family.template.replace(said, "{%- generation %}" + said + "{%- endgeneration %}")
    row = with_system("uone", "atwo", "uthree", "afour")
    assert learnt_texts(row, tokenizer) == [" two</s>", " four</s>"]
    assert learnt_texts(row, tokenizer, last_only=True) == [" four</s>"]


def test_a_template_that_rewrites_earlier_turns_is_told(tokenizer):
    tokenizer.chat_template = TEMPLATE.replace("{{ m['content'] or '' }}", "{{ m['content'] if loop.last else '-' }}")
    with pytest.raises(UsageError, match="writes turn 2 differently when others follow"):
        learnt_texts(talk("u1?", "a2", "u3?", "a4"), tokenizer)


def test_a_chain_has_the_tokens_and_labels_that_trl_gives_it(model, chains, tmp_path):
    from trl import SFTConfig, SFTTrainer

    tokenizer = AutoTokenizer.from_pretrained(model)
    arguments = SFTConfig(str(tmp_path), use_cpu=True, report_to="none")
    trainer = SFTTrainer(
        str(model), arguments, train_dataset=chain_dataset(chains, tokenizer), processing_class=tokenizer
    )
    ours = [encode(sample, tokenizer) for sample in conversations(read_jsonl(chains), "x")]
    assert [dict(row) for row in trainer.train_dataset.select_columns(["input_ids", "labels"])] == ours


@pytest.mark.parametrize("row", [{"text": "a"}, {"messages": "a"}, talk("uonly"), {"messages": [{"content": "x"}]}])
def test_what_is_no_conversation_is_told_by_line(row):
    with pytest.raises(UsageError, match=r"x\.jsonl:2: expected messages"):
        conversations([talk("u1", "a2"), row], "x.jsonl")


def test_prompt_and_completion_are_a_conversation():
    row = {"prompt": talk("u1")["messages"], "completion": talk("a2")["messages"]}
    assert conversations([row], "x")[0].messages == conversations([talk("u1", "a2")], "x")[0].messages


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(0, 9))
def test_nobody_keeps_an_output_and_all_are_given_once(owners, seed):
    if 2 * max(owners.count(o) for o in owners) > len(owners):
        with pytest.raises(UsageError, match="cannot be shuffled"):
            derangement(owners, random.Random(seed))
        return
    order = derangement(owners, random.Random(seed))
    assert sorted(order) == list(range(len(owners)))
    assert all(owners[source] != owner for owner, source in zip(owners, order, strict=True))
    assert order == derangement(owners, random.Random(seed))


def test_turns_are_shuffled_one_by_one_or_sample_by_sample():
    rows = [talk("uq0", "aA0", "ur0", "aA1"), talk("uq1", "aB0", "ur1", "aB1"), talk("uq2", "aC0", "ur2", "aC1")]
    samples = conversations(rows, "x")
    rng = random.Random(1)
    for unit in ("turn", "sample"):
        given = shuffled(samples, unit, rng)
        for before, after in zip(samples, given, strict=True):
            assert [m["content"] for m in after.messages[::2]] == [m["content"] for m in before.messages[::2]]
            got = [m["content"] for m in after.messages[1::2]]
            own = before.messages[1]["content"][0]
            assert all(text[0] != own for text in got)
            if unit == "sample":
                assert got[0][0] == got[1][0] and got[0][1] + got[1][1] == "01"
        everything = sorted(m["content"] for s in given for m in s.messages)
        assert everything == sorted(m["content"] for s in samples for m in s.messages)


def test_a_sample_with_more_turns_takes_those_of_another_again():
    samples = conversations([talk("uq", "aA0", "ur", "aA1", "us", "aA2"), talk("uq", "aB0", "ur", "aB1")], "x")
    first, second = shuffled(samples, "sample", random.Random(0))
    assert [m["content"] for m in first.messages[1::2]] == ["B0", "B1", "B0"]
    assert [m["content"] for m in second.messages[1::2]] == ["A0", "A1"]


def test_contents_that_are_parts_or_missing_are_learnt_as_text(tokenizer):
    """A template that writes contents as they come would write ``None`` and Python lists."""
    tokenizer.chat_template = TEMPLATE.replace(" or ''", "")
    row = talk("u1 + 1?", "a", "t2", "aIt is 2", tools=TOOLS)
    row["messages"][0]["content"] = [{"type": "text", "text": "1 + 1?"}]
    row["messages"][1] |= {"content": None, "tool_calls": [{"function": {"name": "add", "arguments": {"a": 1}}}]}
    row["messages"][3] = {"role": "assistant", "content": ["It is 2"], "tool_calls": None}
    sample = conversations([row], "x")[0]
    text = tokenizer.decode(encode(sample, tokenizer)["input_ids"])
    assert "user\n1 + 1?<|im_end|>" in text and "assistant\nIt is 2<|im_end|>" in text
    assert "None" not in text and "'type'" not in text and "['" not in text


def test_a_content_that_is_no_text_is_told_by_line():
    row = talk("u1", "a2")
    row["messages"][0]["content"] = [{"type": "image_url", "image_url": {"url": "x"}}]
    with pytest.raises(UsageError, match=r"x\.jsonl:1: a part of a message is of type 'image_url'"):
        conversations([row], "x.jsonl")


def test_sharegpt_turns_are_messages():
    row = {"conversations": [{"from": "human", "value": "1"}, {"from": "gpt", "value": "2"}]}
    assert conversations([row], "x")[0].messages == conversations([talk("u1", "a2")], "x")[0].messages


def test_tools_as_tables_hold_them():
    for tools in ("", " ", None, [], {}, "null", "[]"):
        assert conversations([talk("u1", "a2", tools=tools)], "x")[0].tools is None
    for tools in (TOOLS, TOOLS[0], json.dumps(TOOLS), json.dumps(TOOLS[0])):
        assert conversations([talk("u1", "a2", tools=tools)], "x")[0].tools == tuple(TOOLS)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (talk("u1", "a2", tools="[{bad"), "tools is no JSON"),
        (talk("u1", "a2", tools=3), "tools is of type int"),
        (talk("u1", "a2", tools=["f"]), "tools is a list of other things"),
        ({"messages": [{"role": None, "content": "x"}, *talk("a2")["messages"]]}, "expected messages"),
        ({"conversations": [{"from": ["human"], "value": "1"}, {"from": "gpt", "value": "2"}]}, "expected messages"),
        ({"conversations": [{"from": "gpt", "value": "2"}]}, "the first message is the assistant's"),
        (talk("a1", "u2", "a3"), "the first message is the assistant's"),
        (["u1", "a2"], "the sample is a list"),
    ],
)
def test_what_cannot_be_learnt_is_told_by_line(row, message):
    with pytest.raises(UsageError, match=rf"x\.jsonl:7: {message}.*; mend the sample or leave it out"):
        conversations([row], "x.jsonl", [7])


def test_halves_of_characters_are_replaced():
    assert conversations([talk("ucut \ud83d?", "a2")], "x")[0].messages[0]["content"] == "cut \ufffd?"
