"""What is known of tokens: steps, the answer part, the text of each token, roles by pattern and by file."""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from rftt.errors import UsageError
from rftt.weighting.annotate import Annotator, after_marker, functions_of, last_step, token_texts
from rftt.weighting.conversations import conversations, encode
from rftt.weighting.interface import BOILERPLATE, NO_FUNCTION, NO_ROLE, REASONING
from rftt.weighting.roles import RegexRoles, ShadRoles
from rftt.weighting.table import RoleTable
from search.functions import RFTT
from search.journal import read_jsonl

pytestmark = pytest.mark.weighting


@pytest.fixture(scope="module")
def tokenizer(model):
    return AutoTokenizer.from_pretrained(model)


def test_a_token_belongs_to_the_step_it_stands_in_tags_included():
    tags = {tag: 100 + i for i, tag in enumerate(RFTT.tags)}
    verify, output = RFTT["verify"], RFTT["output"]
    ids = [1, tags[verify.open], 2, tags[verify.close], 3, tags[output.open], 4]
    v, o = RFTT.names.index("verify"), RFTT.names.index("output")
    assert functions_of(ids, tags) == [NO_FUNCTION, v, v, v, NO_FUNCTION, o, o]
    assert functions_of(ids, {}) == [NO_FUNCTION] * 7


def test_the_answer_part_is_the_last_learnt_output_step():
    ids, learnt = [9, 1, 9, 2, 9, 3], [False, True, True, True, True, True]
    assert last_step(ids, learnt, 9) == [False, False, False, False, True, True]
    assert last_step(ids, [True, *[False] * 5], 9) == [True, *[False] * 5], "what is not learnt does not answer"
    assert not any(last_step(ids, learnt, 8)) and not any(last_step(ids, learnt, None))


@pytest.mark.parametrize(
    ("texts", "key"),
    [
        (["a", "##", "##", " 7", ""], [0, 0, 0, 1, 1]),
        (["a####", "b", "#", "###", "7"], [0, 0, 0, 0, 1]),
        (["a", "#### 7", "."], [0, 1, 1]),
        (["a", "###", "7"], [0, 0, 0]),
    ],
)
def test_the_answer_part_follows_the_last_marker(texts, key):
    assert after_marker(texts, [True] * len(texts), "####") == [bool(k) for k in key]
    assert not any(after_marker(texts, [False] * len(texts), "####"))


def test_the_texts_of_tokens_are_the_text(tokenizer):
    text = "<output>\nÄnderung 你好 \\boxed{12} 🙂</output>"
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert "".join(token_texts(tokenizer, ids)) == text


def test_patterns_tell_roles_in_learnt_text_only(tokenizer):
    row = {"messages": [{"role": "user", "content": '{"name": 1}'},
                        {"role": "assistant", "content": 'Thought: go {"name": "sum"}'}]}  # fmt: skip
    sample = encode(conversations([row], "x")[0], tokenizer)
    ids, learnt = sample["input_ids"], [label != -100 for label in sample["labels"]]
    roles = RegexRoles(tokenizer).roles(ids, learnt)
    texts = token_texts(tokenizer, ids)
    assert [r == NO_ROLE for r in roles] == [not wanted for wanted in learnt]
    reasoning = "".join(t for t, r in zip(texts, roles, strict=True) if r == REASONING)
    assert reasoning.replace(" ", "") == "gosum"
    last = len(ids) - 1 - ids[::-1].index(tokenizer.eos_token_id)
    assert roles[last] == BOILERPLATE, "the end of the turn is boilerplate"


def record(ids, ld):
    return {"ids": ids, "ld": ld, "roles": [NO_ROLE if d is None else int(d > 0) for d in ld]}


def test_roles_from_a_file_are_found_by_ids_and_take_another_threshold():
    records = [record([1, 2, 3], [None, 0.5, -1.0]), record([1, 2, 4], [None, -0.5, 1.0])]
    assert ShadRoles(records).roles([1, 2, 4], [False, True, True]) == [NO_ROLE, BOILERPLATE, REASONING]
    assert ShadRoles(records, 0.7).roles([1, 2, 3], [False, True, True]) == [NO_ROLE, BOILERPLATE, BOILERPLATE]
    with pytest.raises(UsageError, match="a sample is not in it"):
        ShadRoles(records).roles([1, 2, 5], [False, True, True])
    with pytest.raises(UsageError, match="a learnt token has no role in it"):
        ShadRoles(records).roles([1, 2, 3], [True, True, True])


def test_a_table_of_roles_falls_back_from_pairs_to_tokens_to_all():
    seen = [record([1, 2], [None, 2.0])] * 3 + [record([5, 2], [None, -3.0])] * 3
    table = RoleTable(seen, least=3)
    assert table.roles([1, 2], [False, True]) == [NO_ROLE, REASONING], "the pair"
    assert table.roles([7, 2], [False, True]) == [NO_ROLE, BOILERPLATE], "the token: −0.5 on average"
    assert table.roles([7, 8], [True, True]) == [BOILERPLATE, BOILERPLATE], "anything"
    assert RoleTable(seen, threshold=-1.0).roles([7, 8], [True, True]) == [REASONING, REASONING]
    with pytest.raises(ValueError, match="no token with a role"):
        RoleTable([record([1], [None])])


def test_columns_of_a_chain(tokenizer, chains):
    sample = encode(conversations(read_jsonl(chains), "x")[1], tokenizer)
    columns = Annotator(tokenizer, RegexRoles(tokenizer))(sample)
    ids = sample["input_ids"]
    key = [token for token, k in zip(ids, columns["token_key"], strict=True) if k]
    assert tokenizer.decode(key).startswith("<output>\n\\boxed{1}\n</output>\n<|im_end|>")
    inside = {RFTT.names[f] for f in columns["token_functions"] if f != NO_FUNCTION}
    assert inside == {"next_step", "verify", "output"}
    assert {r for r in columns["token_roles"]} == {NO_ROLE, BOILERPLATE, REASONING}
