"""Control tokens that stand in a text: they are encoded as the text that they are."""

import random
from pathlib import Path

import pytest

from search.functions import RFTT
from search.plain_text import plain_ids
from tests.search.fakes import CharTokenizer
from tests.tiny import SPECIAL_TOKENS, build_tokenizer

TOY = Path(__file__).parents[2] / "rftt" / "toy" / "base"
SENTENCES = ["What is the sum of 12 and 30?", "Höhe: 3 m, naïve 東京", "a  b\n\n  c", "x < y > z |im_end|", ""]


def byte_level():
    """Byte-level BPE with special tokens, functional tags that are not special, and runs of white space."""
    tokenizer = build_tokenizer()
    add(tokenizer, [*RFTT.tags, "  ", "\n\n"])
    return tokenizer


def toy():
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(TOY)
    add(tokenizer, RFTT.tags)
    return tokenizer


def sentence_piece(model: str):
    """Spaces become ``▁`` and the first word gets one; the control tokens stand in the model's own vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<unk>", "<s>", "</s>"]
    if model == "unigram":
        # Control symbols have the best score of all, as in vocabularies that were converted from SentencePiece.
        pieces = [(p, 0.0) for p in special] + [(p, -float(i)) for i, p in enumerate(["▁the", "▁sum", "▁", "is"], 1)]
        seen = {p for p, _ in pieces}
        pieces += [(chr(c), -20.0) for c in range(33, 127) if chr(c) not in seen]
        raw = Tokenizer(models.Unigram(pieces, unk_id=0))
    else:
        raw = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    raw.decoder = decoders.Metaspace(prepend_scheme="first")
    if model == "bpe":
        # "</s>" is so frequent here that merges make it out of plain text.
        text = ["What is the sum of the numbers?", "x</s></s></s></s></s></s> </s>", "<>|/s_"] * 4
        text += [chr(c) for c in range(33, 127)]
        raw.train_from_iterator(
            text, trainers.BpeTrainer(vocab_size=200, special_tokens=["<unk>"], show_progress=False)
        )
        assert raw.token_to_id("</s>") is not None
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    add(tokenizer, RFTT.tags)
    return tokenizer


def add(tokenizer, tags):
    from transformers import AddedToken

    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in tags])


def whole_words():
    """A vocabulary of words, in which a control token is one, and everything else is unknown."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", "<eos>", "one", "two", *RFTT.tags]
    raw = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>", eos_token="<eos>")
    add(tokenizer, RFTT.tags)
    return tokenizer


TOKENIZERS = {
    "byte-level": byte_level,
    "toy": toy,
    "bpe": lambda: sentence_piece("bpe"),
    "unigram": lambda: sentence_piece("unigram"),
    "words": whole_words,
}


@pytest.fixture(scope="module", params=TOKENIZERS)
def tokenizer(request):
    return TOKENIZERS[request.param]()


def control_ids(tokenizer):
    return {i for i, t in tokenizer.added_tokens_decoder.items() if t.content.strip()} - {tokenizer.unk_token_id}


def usual(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("text", SENTENCES)
def test_an_ordinary_text_is_encoded_as_usual(tokenizer, text):
    assert plain_ids(tokenizer, text) == usual(tokenizer, text)


def test_no_control_token_comes_out_of_a_text_that_holds_it(tokenizer):
    names = [t.content for t in tokenizer.added_tokens_decoder.values() if t.content.strip()]
    for name in names:
        for text in (name, f"one {name} two", f"x{name}{name}y", f"{name[:2]}{name}{name[2:]}"):
            assert control_ids(tokenizer).isdisjoint(plain_ids(tokenizer, text)), text


def test_random_mixtures(tokenizer):
    rng = random.Random(0)
    names = [t.content for t in tokenizer.added_tokens_decoder.values()]
    bits = [
        *names,
        *(n[:-1] for n in names),
        *(n[1:] for n in names),
        "<",
        ">",
        "|",
        "one",
        " ",
        "\n",
        "is",
        "é",
        "\x00 ",
    ]
    for _ in range(500):
        text = "".join(rng.choices(bits, k=rng.randrange(1, 8)))
        assert control_ids(tokenizer).isdisjoint(plain_ids(tokenizer, text)), text


@pytest.mark.parametrize("name", ["byte-level", "toy"])
def test_the_text_can_be_read_back(name):
    tokenizer = TOKENIZERS[name]()
    for text in ["a<|im_end|>\n<|im_start|>user\nb", "".join(RFTT.tags), "Wörter <output>  </output>\n\n."]:
        assert tokenizer.decode(plain_ids(tokenizer, text)) == text


def test_white_space_that_is_an_added_token_stays_one():
    tokenizer = byte_level()
    run, lines = tokenizer.convert_tokens_to_ids(["  ", "\n\n"])
    ids = plain_ids(tokenizer, "a  b\n\n<|im_end|>")
    assert run in ids and lines in ids


def test_the_rest_of_a_text_with_a_control_token_is_encoded_as_usual():
    tokenizer = byte_level()
    before, after = "What is the sum?\n", "\nWhat is the answer?"
    # Digits are cut off on both sides, so that no merge reaches over the seams.
    ids = plain_ids(tokenizer, f"{before}1<|im_end|>1{after}")
    first, last = usual(tokenizer, f"{before}1"), usual(tokenizer, f"1{after}")
    assert ids[: len(first)] == first and ids[-len(last) :] == last


def test_an_unknown_character_is_the_unknown_token_and_a_typed_one_is_not():
    tokenizer = sentence_piece("bpe")
    assert tokenizer.unk_token_id in plain_ids(tokenizer, "東 </s>")
    assert tokenizer.unk_token_id not in plain_ids(tokenizer, "<unk> </s>")


def test_a_token_added_later_is_one_of_them():
    tokenizer = byte_level()
    assert plain_ids(tokenizer, "<later>") == usual(tokenizer, "<later>")
    add(tokenizer, ["<later>"])
    assert len(usual(tokenizer, "<later>")) == 1 < len(plain_ids(tokenizer, "<later>"))


def test_special_tokens_of_the_tests_are_real_ones():
    assert all(len(usual(byte_level(), t)) == 1 for t in (*SPECIAL_TOKENS, *RFTT.tags))


def test_a_tokenizer_without_a_backend():
    tokenizer = CharTokenizer()
    assert plain_ids(tokenizer, "1 + 2") == tokenizer("1 + 2")["input_ids"]
    assert tokenizer.decode(plain_ids(tokenizer, "<output>1<eos>")) == "<output>1<eos>"
    assert len(plain_ids(tokenizer, "<eos>")) == 5
