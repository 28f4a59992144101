"""Random process reward models of each format, and hand-written unbatched references for them."""

from __future__ import annotations

from rewards.prm.formats import QWEN_SYSTEM, build_format
from rewards.prm.process import load_local
from tests.tiny import build_tiny_model, build_tokenizer

SHAPE = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
         "num_key_value_heads": 1, "initializer_range": 0.2, "bos_token_id": None}  # fmt: skip
FORMATS = ("token_classification", "math_shepherd", "qwen")


def build(folder, form, *, positions=1024, labels=2):
    """Write a random model of a format."""
    import torch
    from transformers import Qwen2Config, Qwen2ForTokenClassification

    from rewards.prm.qwen import Qwen2ForProcessRewardModel

    if form == "math_shepherd":
        build_tiny_model(folder)
        return
    tokenizer = build_tokenizer()
    if form == "qwen":
        tokenizer.add_tokens(["<extra_0>"], special_tokens=True)
    config = Qwen2Config(
        vocab_size=len(tokenizer), max_position_embeddings=positions, num_labels=labels,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, **SHAPE,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = (Qwen2ForProcessRewardModel if form == "qwen" else Qwen2ForTokenClassification)(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def load(folder, form, **options):
    given = options.pop("format_options", None)
    return load_local(str(folder), lambda t: build_format(form, t, given), dtype="float32", device="cpu", **options)


def reference(folder, form, question, steps):
    """The scores as the model cards compute them: one path, no batch, the whole text at once."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForTokenClassification, AutoTokenizer

    from rewards.prm.qwen import Qwen2ForProcessRewardModel

    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        if form == "token_classification":
            model = AutoModelForTokenClassification.from_pretrained(folder).eval()
            ids, ends = tokenizer(question)["input_ids"], []
            for step in steps:
                ids = ids + tokenizer(step)["input_ids"] + tokenizer("\n")["input_ids"]
                ends.append(len(ids) - 1)
            return model(torch.tensor([ids])).logits[0, ends].softmax(-1)[:, 1].tolist()
        if form == "qwen":
            model = Qwen2ForProcessRewardModel.from_pretrained(folder).eval()
            text = tokenizer.apply_chat_template(
                [{"role": "system", "content": QWEN_SYSTEM}, {"role": "user", "content": question},
                 {"role": "assistant", "content": "<extra_0>".join(steps) + "<extra_0>"}], tokenize=False,
            )  # fmt: skip
            ids = tokenizer(text, return_tensors="pt")["input_ids"]
            probabilities = model(ids).logits[0].softmax(-1)
            return probabilities[ids[0] == tokenizer.get_vocab()["<extra_0>"], 1].tolist()
        model = AutoModelForCausalLM.from_pretrained(folder).eval()
        text, found = question, []
        pair = [tokenizer("+")["input_ids"][0], tokenizer("-")["input_ids"][0]]
        for i, step in enumerate(steps):
            text += f"{' ' if i == 0 else chr(10)}Step {i + 1}: {step} ки"
            ids = tokenizer(text, return_tensors="pt")["input_ids"]
            found.append(model(ids).logits[0, -1, pair].softmax(-1)[0].item())
        return found
