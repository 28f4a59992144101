"""Chains of one question, whose shared beginnings are computed once (`sft.prefix_sharing`).

Chains of a question share its prompt, and those of one tree their first steps. They stand together in the order of the
samples, so that they meet in one micro-batch, which is computed as one packed row (`rftt.model.prefix_sharing`). Loss and
gradients of a batch are those of padded rows but for rounding; which samples meet in a batch is another order than without.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler
from trl.trainer.utils import FusedCausalLMOutput

from rftt.errors import UsageError
from rftt.model.prefix_sharing.attention import CannotShare
from rftt.model.prefix_sharing.pack import IGNORED, pack
from rftt.model.prefix_sharing.scoring import forward


def shared_outputs(model: Any, inputs: Mapping[str, Any], layers: int) -> tuple[FusedCausalLMOutput, int]:
    """What TRL's fused head says of a padded batch, computed on the packed row that its rows share.

    Args:
        model: model with TRL's fused head and the attention `rftt.model.prefix_sharing.attention.NAME`.
        inputs: ``input_ids``, ``attention_mask`` and ``labels``, each of shape (B, T).
        layers: number of layers of the model.

    Returns:
        The output, its fields of shape (B, T − 1), and the number of tokens that were computed.

    Raises:
        UsageError: the model does not call its attention in a way that a packed row can be given to.
    """
    ids_BT, labels_BT, real_BT = inputs["input_ids"], inputs["labels"], inputs["attention_mask"].bool()
    rows = [ids[real].tolist() for ids, real in zip(ids_BT, real_BT, strict=True)]
    learnt = [(labels[real] != IGNORED).nonzero().flatten() for labels, real in zip(labels_BT, real_BT, strict=True)]
    starts = [max(int(found[0]), 1) if len(found) else len(row) for found, row in zip(learnt, rows, strict=True)]
    packed = pack(rows, starts)
    try:
        output = forward(model, packed, ids_BT.device, layers)
    except CannotShare as reason:
        raise UsageError(f"sft.prefix_sharing: {reason}; set it to false") from reason
    # Where the output that predicts each label stands in the packed row.
    places_BT = torch.full_like(labels_BT[:, 1:], -1)
    for row, (start, real) in enumerate(zip(starts, real_BT, strict=True)):
        place, source = real.nonzero().flatten(), packed.source_BT[row].to(ids_BT.device)
        places_BT[row, place[start:] - 1] = source[: len(place) - start]
    mask_BT = labels_BT[:, 1:] != IGNORED

    def spread(values_1N: Tensor | None) -> Tensor | None:
        if values_1N is None:
            return None
        return values_1N[0][places_BT.clamp(min=0)].masked_fill(~mask_BT, 0)

    found = {name: spread(getattr(output, name)) for name in ("log_probs", "entropy", "is_top1")}
    return FusedCausalLMOutput(label_mask=mask_BT, **found), packed.tokens


class QuestionOrder(Sampler[int]):
    """Samples in an order in which those of one question follow each other; both are shuffled anew in each epoch.

    Args:
        questions: what tells the question of each sample.
        seed: of the order.
    """

    def __init__(self, questions: Sequence[Any], seed: int) -> None:
        self.of_question: dict[Any, list[int]] = {}
        for index, question in enumerate(questions):
            self.of_question.setdefault(question, []).append(index)
        self.count, self.seed, self.epoch = len(questions), seed, 0

    def set_epoch(self, epoch: int) -> None:
        """What transformers calls at the beginning of each epoch, of a resumed training too."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        dice = random.Random(f"{self.seed}/{self.epoch}")
        groups = [dice.sample(group, len(group)) for group in self.of_question.values()]
        dice.shuffle(groups)
        return (index for group in groups for index in group)

    def __len__(self) -> int:
        return self.count


def prompts(samples: Any) -> list[tuple[int, ...]]:
    """The ids of each sample in front of the first one that is learnt; samples by columns, ``input_ids`` and ``labels``."""
    return [
        tuple(ids[: next((i for i, label in enumerate(labels) if label != IGNORED), len(ids))])
        for ids, labels in zip(samples["input_ids"], samples["labels"], strict=True)
    ]


def refuse(args: Any) -> None:
    """Raises:
    UsageError: an option of TRL's under which a batch is not padded rows, or its loss needs the logits themselves.
    """
    for name, set_ in (
        ("packing", args.packing),
        ("padding_free", args.padding_free),
        ("label_smoothing_factor", args.label_smoothing_factor > 0),
        ("use_liger_kernel", args.use_liger_kernel),
    ):
        if set_:
            raise UsageError(f"{name} is not allowed with sft.prefix_sharing; leave one of them out")
