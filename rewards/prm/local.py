"""A process reward model in this process: loads it, checks that it can be used, and runs padded batches."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from rewards.prm.formats import Format, PRMError, Row

if TYPE_CHECKING:
    import torch

CAUSALITY_TOLERANCE = {"float32": 1e-3}  # of a probability; narrower types round by more
ROUGH_TOLERANCE = 5e-2


class LocalPRM:
    """Scores rows on one device.

    Args:
        model: token classifier with two labels, or a language model where the format has a pair of tokens.
        tokenizer: tokenizer of the model.
        form: the format that the rows have.
        batch_size: most rows of one forward pass.
        max_length: longest row in tokens; by default what the model's positions allow.

    Raises:
        PRMError: the model has not two labels, or what it says of a step depends on the steps after it.
    """

    def __init__(
        self, model: Any, tokenizer: Any, form: Format, *, batch_size: int = 16, max_length: int | None = None
    ) -> None:
        self.model, self.form, self.batch_size = model.eval(), form, batch_size
        self.pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id or 0
        self.max_length = max_length or getattr(model.config, "max_position_embeddings", None) or 1 << 30
        self._keeps = form.pair is not None and "logits_to_keep" in inspect.signature(model.forward).parameters
        if form.pair is None and getattr(model.config, "num_labels", 2) != 2:
            raise PRMError(f"prm.path: the model has {model.config.num_labels} labels, expected 2 (wrong, right)")
        self._check_causal()

    def connected(self) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def score_rows(self, rows: Sequence[Row]) -> list[list[float] | PRMError]:
        """See `rewards.prm.process.Model`; the forward pass runs in a thread."""
        return list(await asyncio.to_thread(self.scores, rows))

    def scores(self, rows: Sequence[Row]) -> list[list[float]]:
        """One score in [0, 1] for each mark of each row; at most `batch_size` rows.

        Raises:
            PRMError: the model returned what is no probability.
        """
        import torch

        width, device = max(len(row.ids) for row in rows), self.model.device
        # Padding stands on the right, where a causal model does not look.
        ids_BT = torch.full((len(rows), width), self.pad_id, dtype=torch.long)
        mask_BT = torch.zeros_like(ids_BT)
        for r, row in enumerate(rows):
            ids_BT[r, : len(row.ids)] = torch.tensor(row.ids)
            mask_BT[r, : len(row.ids)] = 1
        kept = sorted({mark for row in rows for mark in row.marks})
        place = {mark: i for i, mark in enumerate(kept)} if self._keeps else {mark: mark for mark in kept}
        # Logits of a whole vocabulary are wanted at the marks only.
        only = {"logits_to_keep": torch.tensor(kept, device=device)} if self._keeps else {}
        with torch.inference_mode():
            out = self.model(input_ids=ids_BT.to(device), attention_mask=mask_BT.to(device), **only)
        logits_BTC = out.logits if hasattr(out, "logits") else out[0]
        found = []
        for r, row in enumerate(rows):
            at = torch.tensor([place[mark] for mark in row.marks], device=device, dtype=torch.long)
            found.append(self._probabilities(logits_BTC[r, at]).tolist())
        if any(not 0 <= score <= 1 for scores in found for score in scores):
            raise PRMError("prm: the model returned NaN; load it with prm.dtype float32 or bfloat16")
        return found

    def _probabilities(self, logits_SC: torch.Tensor) -> torch.Tensor:
        """(steps, classes or vocabulary) → (steps,)"""
        if self.form.pair is None:
            return logits_SC.float().softmax(-1)[:, 1]
        return logits_SC[:, list(self.form.pair)].float().softmax(-1)[:, 0]

    def _check_causal(self) -> None:
        """Scores are kept by path prefix, which is right only if later steps cannot change earlier scores."""
        dtype = str(self.model.dtype).removeprefix("torch.")
        tolerance = CAUSALITY_TOLERANCE.get(dtype, ROUGH_TOLERANCE)
        short, long = self.form.encode("1+1=?", ["1+1=2"]), self.form.encode("1+1=?", ["1+1=2", "So 7", "9 8 7"])
        if len(long.ids) > self.max_length:
            return
        alone, followed = self.scores([short])[0][0], self.scores([long])[0][0]
        if long.ids[: short.marks[0] + 1] != short.ids[: short.marks[0] + 1] or abs(alone - followed) > tolerance:
            raise PRMError(
                f"prm.path: the score of a step depends on the steps after it ({alone:.4f} alone, {followed:.4f} followed); "
                "give a causal model"
            )


def load_local(
    path: str,
    build: Any,
    *,
    device: str = "auto",
    dtype: str = "auto",
    batch_size: int = 16,
    max_length: int | None = None,
    trust_remote_code: bool = False,
    options: dict[str, Any] | None = None,
) -> LocalPRM:
    """Load a model folder or hub name.

    Args:
        path: folder or name, of model and tokenizer.
        build: tokenizer → `Format`.
        device: ``"auto"`` is the GPU if there is one.
        dtype: dtype of the weights; ``"auto"`` is that of the checkpoint.
        batch_size, max_length: see `LocalPRM`.
        trust_remote_code: run code that comes with the checkpoint; Qwen2.5-Math-PRM does not need it.
        options: passed to ``from_pretrained`` as they are.

    Raises:
        PRMError: there is no such model, or it does not fit the format.
    """
    import torch
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=trust_remote_code)
        form = build(tokenizer)
        loader = _loader(path, form, trust_remote_code)
        given = {"dtype": dtype, "trust_remote_code": trust_remote_code} | (options or {})
        model = loader.from_pretrained(path, **given)
    except (OSError, ValueError, KeyError) as error:
        if "trust_remote_code" in str(error):
            raise PRMError(
                f"prm.path: {path} needs code that comes with it, which is not run unasked: read it, then say "
                "prm.trust_remote_code=true"
            ) from error
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise PRMError(f"prm.path: {path}: cannot be loaded ({reason}); give a model folder or a hub name") from error
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if "device_map" not in given:
        model = model.to(device)
    return LocalPRM(model, tokenizer, form, batch_size=batch_size, max_length=max_length)


def _loader(path: str, form: Format, trust_remote_code: bool) -> Any:
    """The class whose ``from_pretrained`` loads the checkpoint."""
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForTokenClassification

    if form.pair is not None:
        return AutoModelForCausalLM
    architecture = (AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code).architectures or [""])[0]
    if architecture.endswith("ForTokenClassification"):
        return AutoModelForTokenClassification
    if architecture == "Qwen2ForProcessRewardModel":
        from rewards.prm.qwen import Qwen2ForProcessRewardModel

        return Qwen2ForProcessRewardModel
    if trust_remote_code:
        return AutoModel
    raise PRMError(
        f"prm.path: {path} holds a {architecture or 'model without architecture'}, expected a token classifier with two "
        "labels (a head drawn at random would score nothing); prm.trust_remote_code=true runs code of its own"
    )
