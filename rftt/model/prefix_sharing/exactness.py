"""For which models and trainings sharing computes what padded rows would: what stands against it, in one line."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from rftt.errors import UsageError

log = logging.getLogger(__name__)

ATTENDING = {"full_attention", "sliding_attention"}
# Rotary positions whose frequencies depend on the longest row of a batch.
OF_THE_BATCH = {"dynamic", "longrope"}


def shares_prefixes(asked: bool | str, config: Any, trainer: Mapping[str, Any], section: str) -> bool:
    """Whether tokens that rows share are computed once.

    Args:
        asked: the setting ``prefix_sharing``: false, true, or auto where it is exact.
        config: transformers' of the model.
        trainer: options of TRL's trainer.
        section: section of the config that the setting stands in, for messages.

    Raises:
        UsageError: it is asked for and would not be exact.
    """
    reason = obstacle(config, trainer) if asked else None
    if reason is None:
        return bool(asked)
    if asked == "auto":
        log.info("shared beginnings are computed once a row: %s", reason)
        return False
    raise UsageError(f"{section}.prefix_sharing is true, but {reason}; set it to auto or false")


def obstacle(config: Any, trainer: Mapping[str, Any]) -> str | None:
    """Why beginnings cannot be shared exactly; None where they can.

    Args:
        config: transformers' of the model.
        trainer: options of TRL's trainer.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    kind = config.model_type
    if config.get_text_config() is not config:
        return f"a {kind} model reads more than text"
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        return f"transformers has no causal language model of type {kind}"
    if getattr(config, "attention_dropout", 0.0):
        return "model.attention_dropout draws one number a row, and shared tokens are in one row only"
    if other := sorted(set(getattr(config, "layer_types", None) or ()) - ATTENDING):
        return f"a {kind} model has layers of {other[0]}, which see their tokens in the order of the packed row"
    if not MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]._supports_attention_backend:
        return f"the attention of a {kind} model cannot be replaced"
    if kind in ("gpt_oss",):
        return f"the attention of a {kind} model has sinks"
    if getattr(config, "attn_logit_softcapping", None):
        return f"the attention of a {kind} model caps its scores"
    if hasattr(config, "output_router_logits") and trainer.get("router_aux_loss_coef") != 0:
        return "the loss that balances experts counts tokens, and shared ones would count once (router_aux_loss_coef=0)"
    scaling = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    flat = [scaling, *(part for part in scaling.values() if isinstance(part, Mapping))]
    if any(part.get("rope_type", part.get("type")) in OF_THE_BATCH for part in flat):
        return f"the positions of a {kind} model depend on the longest row of a batch"
    if trainer.get("use_liger_kernel"):
        return "use_liger_kernel computes its loss on padded rows"
    given = (trainer.get("model_init_kwargs") or {}).get("attn_implementation")
    if given not in (None, "sdpa"):
        return f"attn_implementation is {given}, and sharing brings an attention of its own"
    return None
