"""TRL's `SFTTrainer` with a weight for each token.

What the model returns as log-probs is multiplied by the weights on its way into TRL's own loss, so that averaging over
tokens, accumulation steps and processes, padding-free batches and metrics are TRL's, and weights of 1 change no bit.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from trl import SFTTrainer, pack_dataset

from rftt.errors import UsageError
from rftt.sft.sharing import QuestionOrder, prompts, refuse, shared_outputs
from rftt.weighting.annotate import COLUMNS, IGNORED, Annotator
from rftt.weighting.interface import BOILERPLATE, NO_ROLE, REASONING, Tokens, Weighting

log = logging.getLogger(__name__)


class WeightedSFTTrainer(SFTTrainer):
    """Takes what `SFTTrainer` takes, and

    Args:
        weighting: weighting of the tokens; None leaves TRL's loss untouched.
        annotator: says what is known of the tokens; needed with `weighting` and `key_only`.
        key_only: learn the answer part alone (SFTKey, stage 2); samples without one are left out.
        sharing: compute beginnings that samples of a micro-batch share once; the model has the attention
            `rftt.model.prefix_sharing.attention.NAME` then.

    Raises:
        ValueError: an annotator, or its source of roles, is missing.
        UsageError: an option of TRL's that weights or sharing cannot go with.
    """

    def __init__(
        self,
        *positional: Any,
        weighting: Weighting | None = None,
        annotator: Annotator | None = None,
        key_only: bool = False,
        sharing: bool = False,
        **options: Any,
    ) -> None:
        self.weighting, self.annotator, self.key_only, self.sharing = weighting, annotator, key_only, sharing
        if (weighting is not None or key_only) and annotator is None:
            raise ValueError("annotator: None is not allowed with weighting or key_only, expected an Annotator")
        if weighting is not None and weighting.needs_roles and annotator is not None and annotator.sources is None:
            raise ValueError(f"annotator: sources of roles are missing, which {type(weighting).__name__} needs")
        super().__init__(*positional, **options)
        if weighting is not None:
            _refuse(self.args, self.accelerator)
            self.data_collator: Any = WithColumns(self.data_collator)
        if sharing:
            refuse(self.args)

    def _prepare_dataset(
        self, dataset: Any, processing_class: Any, args: Any, packing: bool, formatting_func: Any, dataset_name: str
    ) -> Any:
        if self.annotator is None:
            return super()._prepare_dataset(dataset, processing_class, args, packing, formatting_func, dataset_name)
        # Tokens first; cutting, shuffling and packing come after the columns are there, in TRL's order.
        bare = copy.copy(args)
        bare.max_length, bare.shuffle_dataset = None, False
        dataset = super()._prepare_dataset(dataset, processing_class, bare, False, formatting_func, dataset_name)
        dataset = dataset.map(self.annotator)
        if self.key_only:
            dataset = dataset.map(key_labels)
        dataset = dataset.select_columns(["input_ids", "labels", *(COLUMNS if self.weighting is not None else ())])
        if not packing and args.max_length is not None:
            kept = slice(args.max_length) if args.truncation_mode == "keep_start" else slice(-args.max_length, None)
            dataset = dataset.map(lambda sample: {name: values[kept] for name, values in sample.items()})
        if self.key_only or (not packing and args.max_length is not None):
            dataset = _with_label(dataset)
        if packing:
            dataset = dataset.shuffle(seed=args.seed) if args.shuffle_dataset else dataset
            dataset = pack_dataset(dataset, args.max_length, args.packing_strategy)
        return dataset.shuffle(seed=args.seed) if args.shuffle_dataset else dataset

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        self._signature_columns += [name for name in COLUMNS if name not in self._signature_columns]

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        if not self.sharing or not hasattr(dataset, "__len__"):
            return super()._get_train_sampler(train_dataset)
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        return QuestionOrder(prompts(dataset), seed)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *positional: Any, **options: Any) -> Any:
        return self._weighted_loss(self._shared(model) if self.sharing else model, inputs, *positional, **options)

    def _shared(self, model: Any) -> Callable[..., Any]:
        """The model as a function that computes what rows share once."""
        layers = self.model.config.num_hidden_layers

        def shared(**given: Any) -> Any:
            if not given.get("fused_lm_head"):
                return model(**given)
            outputs, tokens = shared_outputs(model, given, layers)
            counts = torch.tensor([[float(given["input_ids"].numel()), float(tokens)]]).to(given["input_ids"].device)
            padded, unique = self.accelerator.gather_for_metrics(counts).sum(0).tolist()
            self._metrics["train" if self.model.training else "eval"]["sharing"].append(padded / unique)
            return outputs

        return shared

    def _weighted_loss(self, model: Any, inputs: dict[str, Any], *positional: Any, **options: Any) -> Any:
        if self.weighting is None:
            return super().compute_loss(model, inputs, *positional, **options)
        columns = {name: inputs[name] for name in COLUMNS}
        inputs = {name: value for name, value in inputs.items() if name not in COLUMNS}

        def weighted(**given: Any) -> Any:
            outputs = model(**given)
            if given.get("fused_lm_head"):
                self._log_by_role(outputs.log_probs.detach(), given["labels"], columns["token_roles"])
                outputs.log_probs = outputs.log_probs * self._weights(outputs, given, columns)
            return outputs

        return super().compute_loss(weighted, inputs, *positional, **options)

    def _weights(self, outputs: Any, inputs: Mapping[str, Any], columns: Mapping[str, Tensor]) -> Tensor:
        """Weights of the predictions, shape (B, T − 1); 1 where nothing is learnt."""
        assert self.weighting is not None
        losses_BT, entropies_BT = -outputs.log_probs, outputs.entropy.detach()
        if not self.weighting.through_losses:
            losses_BT = losses_BT.detach()
        labels_BT = inputs["labels"][:, 1:]
        functions_BT, key_BT, roles_BT = (columns[name][:, 1:] for name in COLUMNS)
        weights_BT = torch.ones_like(outputs.log_probs)
        for row, start, end in samples_of(labels_BT.shape, inputs.get("cu_seq_lens_q")):
            learnt = start + (labels_BT[row, start:end] != IGNORED).nonzero().flatten()
            if not len(learnt):
                continue
            roles = roles_BT[row, learnt]
            tokens = Tokens(
                ids=labels_BT[row, learnt],
                functions=functions_BT[row, learnt],
                key=key_BT[row, learnt].bool(),
                losses=losses_BT[row, learnt],
                entropies=entropies_BT[row, learnt],
                roles=None if (roles == NO_ROLE).any() else roles,
            )
            weights = self.weighting(tokens)
            if weights.shape != (len(tokens),):
                raise ValueError(
                    f"{self.weighting}: weights of shape {tuple(weights.shape)}, expected ({len(tokens)},)"
                )
            weights_BT[row, learnt] = weights.to(weights_BT.dtype)
        return weights_BT

    def _log_by_role(self, logps_BT: Tensor, labels_BT: Tensor, roles_BT: Tensor) -> None:
        """Mean losses of boilerplate and reasoning, unweighted, beside TRL's metrics."""
        mode = "train" if self.model.training else "eval"
        learnt_BT = labels_BT[:, 1:] != IGNORED
        for name, role in (("boilerplate_loss", BOILERPLATE), ("reasoning_loss", REASONING)):
            chosen_BT = learnt_BT & (roles_BT[:, 1:] == role)
            both = torch.stack([-(logps_BT * chosen_BT).sum(), chosen_BT.sum()])
            total, count = self.accelerator.gather_for_metrics(both[None]).sum(0).tolist()
            if count:
                self._metrics[mode][name].append(total / count)


class WithColumns:
    """TRL's collator, with `COLUMNS` beside the tokens, padded like them.

    Args:
        inner: TRL's `DataCollatorForLanguageModeling`.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = dict(self.inner(examples))
        for name in COLUMNS:
            rows = [torch.tensor(example[name]) for example in examples]
            rows = [torch.cat(rows)] if self.inner.padding_free else rows
            batch[name] = torch.full_like(batch["input_ids"], -1)
            for target_T, row_T in zip(batch[name], rows, strict=True):
                target_T[: len(row_T)] = row_T
        return batch


def samples_of(shape: torch.Size, starts: Tensor | None) -> Iterator[tuple[int, int, int]]:
    """Row, start and end of each sample among the predictions of a batch.

    Args:
        shape: shape of the predictions, (B, T − 1).
        starts: where the samples of a padding-free batch start and the last one ends, in tokens (``cu_seq_lens_q``); its
            first tokens are predicted by nothing. None where a row is a sample.
    """
    if starts is None:
        yield from ((row, 0, shape[1]) for row in range(shape[0]))
    else:
        bounds = starts.tolist()
        yield from ((0, start, end - 1) for start, end in pairwise(bounds))


def key_labels(sample: Mapping[str, Any]) -> dict[str, list[int]]:
    """The labels of a sample, of the answer part alone."""
    return {
        "labels": [label if key else IGNORED for label, key in zip(sample["labels"], sample["token_key"], strict=True)]
    }


def _with_label(dataset: Any) -> Any:
    kept = dataset.filter(lambda sample: any(label != IGNORED for label in sample["labels"]))
    if hasattr(kept, "__len__") and len(kept) < len(dataset):
        log.warning("left out %d of %d samples without a token to learn", len(dataset) - len(kept), len(dataset))
    return kept


def _refuse(args: Any, accelerator: Any) -> None:
    """Raises:
    UsageError: an option under which TRL's loss does not come from the log-probs of one whole sample.
    """
    parallel = accelerator.parallelism_config
    for name, set_ in (
        ("loss_type: dft", args.loss_type != "nll"),
        ("label_smoothing_factor", args.label_smoothing_factor > 0),
        ("packing_strategy: wrapped", args.packing and args.packing_strategy == "wrapped"),
        ("context or sequence parallelism", parallel is not None and (parallel.cp_enabled or parallel.sp_enabled)),
        ("dataset_kwargs: skip_prepare_dataset", (args.dataset_kwargs or {}).get("skip_prepare_dataset", False)),
    ):
        if set_:
            raise UsageError(f"{name} is not allowed with token weights; leave one of them out")
