"""The loss of every learnt token under two models at once, in batches of samples of similar length (SHAD, step 3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from rftt.weighting.annotate import IGNORED
from search.loading import load_model

Encoded = dict[str, list[int]]


def batches(lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """Indices of samples in batches, longest first, so that too large a batch shows at once.

    Args:
        lengths: lengths of the samples, in tokens.
        tokens: tokens of a batch, padding included; a longer sample is a batch of its own.
    """
    found: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if found and (len(found[-1]) + 1) * lengths[found[-1][0]] <= tokens:
            found[-1].append(index)
        else:
            found.append([index])
    return found


class LossReader:
    """Losses of learnt tokens under one model; the logits of a whole batch are never held.

    Args:
        path: model folder or hub name.
        dtype: dtype of the weights; ``auto`` as a trainer reads it, so that two models are compared in one type.
        trust_remote_code: run code that comes with the model.
    """

    def __init__(self, path: str, dtype: str, trust_remote_code: bool = False) -> None:
        from trl.trainer.utils import add_fused_lm_head

        from rftt.sft.phase import training_dtype

        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model: Any = load_model(path, trust_remote_code, dtype=training_dtype(dtype)).to(self.device).eval()
        add_fused_lm_head(self.model)

    @torch.inference_mode()
    def losses(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Cross-entropies in nats of all tokens but the first, shape (B, T − 1); 0 where a token is not learnt."""
        return -self.model(**inputs, fused_lm_head=True).log_probs.float()


def differences(
    samples: Sequence[Encoded], shuffled: LossReader, original: LossReader, pad: int
) -> Iterator[list[float | None]]:
    """LD(y) = l_s(y) − l_o(y) of every token of a batch (arXiv 2412.14780, section 4.1); None where it is not learnt.

    Args:
        samples: ``input_ids`` and ``labels``.
        shuffled: the model tuned on shuffled outputs.
        original: the model before.
        pad: token id to pad with.
    """
    longest = max(len(s["input_ids"]) for s in samples)
    shape = (len(samples), longest)
    ids_BT, labels_BT = torch.full(shape, pad), torch.full(shape, IGNORED)
    mask_BT = torch.zeros(shape, dtype=torch.long)
    for row, sample in enumerate(samples):
        length = len(sample["input_ids"])
        ids_BT[row, :length] = torch.tensor(sample["input_ids"])
        labels_BT[row, :length] = torch.tensor(sample["labels"])
        mask_BT[row, :length] = 1
    inputs = {"input_ids": ids_BT, "labels": labels_BT, "attention_mask": mask_BT}
    inputs = {name: tensor.to(original.device) for name, tensor in inputs.items()}
    found_BT = (shuffled.losses(inputs) - original.losses(inputs)).tolist()
    for sample, row_T in zip(samples, found_BT, strict=True):
        labels = sample["labels"]
        # Five digits keep the sign, so that roles follow from what is stored.
        yield [None, *(float(f"{d:.5g}") if label != IGNORED else None for d, label in zip(row_T, labels[1:]))]
