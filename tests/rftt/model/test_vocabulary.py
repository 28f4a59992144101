"""Functional tokens in the vocabulary: one id each, kept when decoded, old rows untouched, refusals that say why."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AddedToken, AutoModelForCausalLM, AutoTokenizer

from rftt.errors import UsageError
from rftt.model.vocabulary import MARKER, add_functional_tokens, check_model, functional_token_ids
from search.functions import RFTT

CHAIN = "<clarify>\nWhat is 12 + 3?\n</clarify>\n<next_step>12 + 3 = 15</next_step><output>\\boxed{15}</output>\n"
EVERY_MODEL = [
    (arch, tied, rows) for arch in ("qwen2", "qwen3", "llama") for tied in (True, False) for rows in (0, 10, 40)
]


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


@pytest.fixture
def copy_of(tiny_model, tmp_path):
    def copy(**options) -> Path:
        return Path(shutil.copytree(tiny_model(**options), tmp_path / "copy"))

    return copy


def edit_json(path: Path, **changes) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **changes}))


@pytest.mark.parametrize(("arch", "tied", "padded_rows"), EVERY_MODEL)
def test_new_rows_are_set_and_every_other_row_is_bit_identical(tiny_model, tmp_path, arch, tied, padded_rows):
    source = tiny_model(arch=arch, tied=tied, padded_rows=padded_rows)
    summary = add_functional_tokens(source, tmp_path / "out")
    old, old_tokenizer = load(source)
    new, tokenizer = load(tmp_path / "out")
    ids = functional_token_ids(tokenizer)

    rows = max(len(old_tokenizer) + padded_rows, len(old_tokenizer) + 16)
    assert summary["rows_after"] == new.config.vocab_size == rows
    assert summary["ids"] == ids and summary["added"] == list(RFTT.tags) and summary["tied"] is tied
    assert sorted(ids.values()) == list(range(len(old_tokenizer), len(old_tokenizer) + 16))
    assert (new.get_output_embeddings().weight is new.get_input_embeddings().weight) is tied

    untouched = [row for row in range(summary["rows_before"]) if row not in ids.values()]
    old_state, new_state = old.state_dict(), new.state_dict()
    assert old_state.keys() == new_state.keys()
    for name, before in old_state.items():
        after = new_state[name]
        grown = name in ("model.embed_tokens.weight", "lm_head.weight")
        assert torch.equal(before[untouched], after[untouched]) if grown else torch.equal(before, after), name


@pytest.mark.parametrize("tied", [True, False])
def test_means_lie_near_their_description_and_differ(tiny_model, tmp_path, tied):
    source = tiny_model(tied=tied)
    ids = add_functional_tokens(source, tmp_path / "out", rows="mean")["ids"]
    model, tokenizer = load(tmp_path / "out")
    for weight in (model.get_input_embeddings().weight, model.get_output_embeddings().weight):
        for function in RFTT.functions:
            words = tokenizer.encode(f"start {function.description}", add_special_tokens=False)
            distance = weight[ids[function.open]] - weight[words].mean(dim=0)
            assert distance.abs().max() < 0.3 * weight[words].std()
        rows = weight[list(ids.values())]
        assert torch.pdist(rows).min() > 0.1 * rows.std()


@pytest.mark.parametrize("tied", [True, False])
def test_rows_apart_are_as_far_from_each_other_as_words_and_closing_tags_lie_on_the_other_side(
    tiny_model, tmp_path, tied
):
    source, alike = tiny_model(tied=tied), {}
    for rows in ("mean", "apart"):
        ids = add_functional_tokens(source, tmp_path / rows, rows=rows)["ids"]
        model, _ = load(tmp_path / rows)
        for weight in (model.get_input_embeddings().weight, model.get_output_embeddings().weight):
            known = weight[: min(ids.values())]
            typical = (known - known.mean(dim=0)).norm(dim=1).median().item()
            opens, closes = (weight[[ids[tag] for tag in side]] for side in (RFTT.tags[::2], RFTT.tags[1::2]))
            assert set(RFTT.tags[::2]) == {f.open for f in RFTT.functions}
            between = (opens - closes).norm(dim=1)
            alike.setdefault(rows, []).append(torch.cosine_similarity(opens, closes).mean())
            if rows == "apart":
                assert between.min() > 0.8 * typical and torch.pdist(weight[list(ids.values())]).min() > 0.2 * typical
                centre = weight[list(ids.values())].mean(dim=0)
                assert (weight[list(ids.values())] - centre).norm(dim=1).median().item() == pytest.approx(
                    typical, rel=0.3
                )
                side = (opens - closes).mean(dim=0)
                assert ((opens - centre) @ side > 0).all() and ((closes - centre) @ side < 0).all()
    assert all(apart < mean - 0.3 for apart, mean in zip(alike["apart"], alike["mean"], strict=True))


def test_same_seed_same_rows_other_seed_other_rows(tiny_model, tmp_path):
    weights = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.manual_seed(hash(name) % 1000)
        add_functional_tokens(tiny_model(), tmp_path / name, seed=seed)
        weights.append(load(tmp_path / name)[0].get_input_embeddings().weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_head_with_bias_gets_finite_new_biases_and_keeps_the_old(tmp_path):
    from transformers import PhiConfig, PhiForCausalLM

    from tests.tiny import build_tokenizer

    tokenizer = build_tokenizer()
    config = PhiConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2
    )
    model = PhiForCausalLM(config)
    torch.nn.init.normal_(model.lm_head.bias)
    model.save_pretrained(tmp_path / "phi")
    tokenizer.save_pretrained(tmp_path / "phi")
    ids = add_functional_tokens(tmp_path / "phi", tmp_path / "out")["ids"]
    bias = load(tmp_path / "out")[0].lm_head.bias
    assert torch.equal(bias[: len(tokenizer)], model.lm_head.bias)
    words = tokenizer.encode("start output the final answer", add_special_tokens=False)
    assert torch.allclose(bias[ids["<output>"]], model.lm_head.bias[words].mean())


@pytest.mark.parametrize("arch", ["qwen2", "qwen3", "llama"])
def test_round_trip_keeps_the_tags(tiny_model, tmp_path, arch):
    add_functional_tokens(tiny_model(arch=arch), tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    ids = functional_token_ids(tokenizer)
    encoded = tokenizer.encode(CHAIN, add_special_tokens=False)
    assert tokenizer.decode(encoded, skip_special_tokens=True) == CHAIN
    assert [id for id in encoded if id in ids.values()] == [
        ids[tag] for tag in ("<clarify>", "</clarify>", "<next_step>", "</next_step>", "<output>", "</output>")
    ]
    for tag in RFTT.tags:
        for text in (tag, f"x{tag}y", f"\n{tag}\n", f" {tag} ", f"{tag}{tag}"):
            encoded = tokenizer.encode(text, add_special_tokens=False)
            assert encoded.count(ids[tag]) == text.count(tag)
            assert tokenizer.decode(encoded, skip_special_tokens=True) == text
    assert set(ids.values()).isdisjoint(tokenizer.all_special_ids)


def test_templates_and_settings_travel_unchanged(copy_of, tmp_path):
    source = copy_of()
    edit_json(source / "generation_config.json", do_sample=False, temperature=0.6, eos_token_id=[2, 3])
    add_functional_tokens(source, tmp_path / "out")
    for name in ("generation_config.json",):
        assert json.loads((tmp_path / "out" / name).read_text()) == json.loads((source / name).read_text())
    before, after = AutoTokenizer.from_pretrained(source), AutoTokenizer.from_pretrained(tmp_path / "out")
    assert after.chat_template == before.chat_template
    assert (after.pad_token_id, after.eos_token_id) == (before.pad_token_id, before.eos_token_id)


def test_dtype_is_the_checkpoints_own_unless_given(tiny_model, tmp_path):
    half = add_functional_tokens(tiny_model(), tmp_path / "half", dtype="bfloat16")
    assert half["dtype"] == "bfloat16"
    again = add_functional_tokens(tmp_path / "half", tmp_path / "again")
    assert again["dtype"] == "bfloat16" and load(tmp_path / "again")[0].dtype == torch.bfloat16


def test_a_model_that_has_the_tokens_is_copied_unchanged(tiny_model, tmp_path):
    first = add_functional_tokens(tiny_model(), tmp_path / "first")
    second = add_functional_tokens(tmp_path / "first", tmp_path / "second", seed=7)
    assert second["added"] == [] and second["kept"] == list(RFTT.tags) and second["ids"] == first["ids"]
    assert "already" in second["message"]
    for before, after in zip(load(tmp_path / "first")[0].parameters(), load(tmp_path / "second")[0].parameters()):
        assert torch.equal(before, after)


def test_tokens_in_a_tokenizer_without_rows_get_rows(copy_of, tmp_path):
    source = copy_of()
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in RFTT.tags[:4]])
    tokenizer.save_pretrained(source)
    summary = add_functional_tokens(source, tmp_path / "out")
    assert summary["added"] == list(RFTT.tags)


def test_own_folder_is_replaced_and_nothing_is_left_beside_it(tiny_model, tmp_path):
    for seed in (0, 1):
        add_functional_tokens(tiny_model(), tmp_path / "out", seed=seed)
    assert json.loads((tmp_path / "out" / MARKER).read_text())["seed"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_crash_while_saving_leaves_nothing(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr("rftt.model.vocabulary._generation_settings", lambda source: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        add_functional_tokens(tiny_model(), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_padding_token_can_be_chosen(copy_of, tmp_path):
    source = copy_of()
    edit_json(source / "tokenizer_config.json", pad_token=None)
    with pytest.raises(UsageError, match="no padding token"):
        add_functional_tokens(source, tmp_path / "out")
    add_functional_tokens(source, tmp_path / "out", pad_token="<|endoftext|>")
    model, tokenizer = load(tmp_path / "out")
    assert tokenizer.pad_token == "<|endoftext|>"
    assert model.config.pad_token_id == model.generation_config.pad_token_id == tokenizer.pad_token_id
    check_model(tmp_path / "out", functions=RFTT)


def without_template(folder):
    (folder / "chat_template.jinja").unlink()


def with_pad_equal_to_eos(folder):
    edit_json(folder / "tokenizer_config.json", pad_token="<|im_end|>")


def without_config(folder):
    (folder / "config.json").unlink()


def of_an_unknown_kind(folder):
    edit_json(folder / "config.json", model_type="nonsense")


REFUSED = {
    "chat template": without_template,
    "pads with its eos": with_pad_equal_to_eos,
    "not a model folder": without_config,
    "cannot load model": of_an_unknown_kind,
}


@pytest.mark.parametrize("reason", REFUSED)
def test_unusable_models_are_refused_before_anything_is_written(copy_of, tmp_path, reason):
    source = copy_of()
    REFUSED[reason](source)
    for call in (lambda: check_model(source), lambda: add_functional_tokens(source, tmp_path / "out")):
        with pytest.raises(UsageError, match=reason) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_special_functional_token_is_refused(copy_of, tmp_path):
    source = copy_of()
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.add_tokens([AddedToken("<verify>", special=True)])
    tokenizer.save_pretrained(source)
    with pytest.raises(UsageError, match="<verify> is a special token"):
        add_functional_tokens(source, tmp_path / "out")


def test_missing_models_and_damaged_weights_are_refused(copy_of, tmp_path):
    for missing in (tmp_path / "none", str(tmp_path / "none"), "./none"):
        with pytest.raises(UsageError, match="there is no model folder"):
            check_model(missing)
    with pytest.raises(UsageError, match="cannot load model"):
        check_model("nobody/no-such-model")
    source = copy_of()
    (source / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(UsageError, match="cannot load model"):
        add_functional_tokens(source, tmp_path / "out")
    (source / "model.safetensors").unlink()
    with pytest.raises(UsageError, match="no weights"):
        check_model(source)


def test_a_model_without_the_tokens_is_refused_where_they_are_needed(tiny_model):
    check_model(tiny_model())
    with pytest.raises(UsageError, match="rftt tokens"):
        check_model(tiny_model(), functions=RFTT)


def test_folders_that_are_not_ours_are_left_alone(copy_of, tiny_model, tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("")
    for taken in ("theirs", "file"):
        with pytest.raises(UsageError):
            add_functional_tokens(tiny_model(), tmp_path / taken)
    source = copy_of()
    with pytest.raises(UsageError):
        add_functional_tokens(source, source)
    (tmp_path / "empty").mkdir()
    add_functional_tokens(tiny_model(), tmp_path / "empty")


def test_bad_options_are_refused(tiny_model, tmp_path):
    with pytest.raises(UsageError, match="dtype"):
        add_functional_tokens(tiny_model(), tmp_path / "out", dtype="float99")
    with pytest.raises(UsageError, match="pad_token"):
        add_functional_tokens(tiny_model(), tmp_path / "out", pad_token="<nope>")


def test_importing_the_module_imports_no_heavy_library():
    code = (
        "import sys, rftt.model.vocabulary, rftt.data.problems\n"
        "print([name for name in ('torch', 'transformers', 'datasets', 'pandas', 'pyarrow') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.vllm
@pytest.mark.parametrize(("arch", "tied", "padded_rows"), [("qwen2", True, 24), ("llama", False, 0)])
def test_vllm_scores_functional_tokens_as_transformers_does(tiny_model, tmp_path, arch, tied, padded_rows):
    from vllm import LLM, SamplingParams

    ids = add_functional_tokens(tiny_model(arch=arch, tied=tied, padded_rows=padded_rows), tmp_path / "out")["ids"]
    model, tokenizer = load(tmp_path / "out")
    prompt_ids = tokenizer.encode(f"What is 12 + 3?\n{CHAIN}", add_special_tokens=False)
    llm = LLM(
        str(tmp_path / "out"),
        dtype="float32",
        enforce_eager=True,
        max_model_len=256,
        max_num_seqs=8,
        gpu_memory_utilization=0.1,
        enable_prefix_caching=False,
    )
    functional = SamplingParams(
        max_tokens=1, temperature=1.0, logprobs=16, prompt_logprobs=0, allowed_token_ids=list(ids.values())
    )
    request = llm.generate([{"prompt_token_ids": prompt_ids}], functional, use_tqdm=False)[0]
    engine_logps = torch.tensor([step[id].logprob for step, id in zip(request.prompt_logprobs[1:], prompt_ids[1:])])
    with torch.no_grad():
        logps_TV = model(torch.tensor([prompt_ids])).logits[0].log_softmax(-1)
    trainer_logps = logps_TV[:-1].gather(1, torch.tensor(prompt_ids[1:])[:, None])[:, 0]
    assert (engine_logps - trainer_logps).abs().max() < 1e-4
    assert request.outputs[0].token_ids[0] in ids.values()
    assert request.outputs[0].text in ids
