"""One training in several processes: under torchrun, deepspeed or accelerate, with DDP or ZeRO, on GPUs or the CPU.

    torchrun --nproc-per-node 8 -m rftt.cli sft CONFIG sft.trainer.deepspeed=configs/deepspeed/zero2.json

All processes agree on the checkpoint that they go on from; only the first one writes and prints.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rftt.errors import UsageError
from rftt.model.checkpoints import PARTIAL, last_whole, publish, telling_a_full_disk
from rftt.runtime import terminal
from search.function_files import FILE as FUNCTIONS


def processes() -> int:
    """How many processes train together; launchers say it in the environment."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this is the process that writes and prints."""
    return int(os.environ.get("RANK", "0")) == 0


def only_first_speaks() -> None:
    """Silence standard output, bars and the log of every process but the first; errors are still told by each."""
    if not is_first():
        terminal.mute()
        os.environ["TQDM_DISABLE"] = "1"
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (for the rest of the process)
        logging.disable(logging.WARNING)


def prepare(options: Mapping[str, Any], section: str) -> None:
    """Make ready what trainers expect of their launcher; call before the trainer's config is built.

    On the CPU the processes are joined over gloo, which trainers leave to the launcher under ZeRO-3. DeepSpeed without a
    launcher trains in this process alone, e.g. with optimiser states offloaded from a single GPU.

    Args:
        options: options of the trainer; ``deepspeed`` and ``use_cpu`` are read.
        section: section of the config that they come from, for messages.

    Raises:
        UsageError: DeepSpeed is asked for and absent or of no use, or its settings cannot be read.
    """
    import torch

    on_cpu = bool(options.get("use_cpu")) or not torch.cuda.is_available()
    if "RANK" not in os.environ:
        # TRL tries a few well-known ports, and two trainings that start together would take the same one.
        os.environ.setdefault("MASTER_PORT", str(_free_port()))
    if options.get("deepspeed"):
        _check_deepspeed(options["deepspeed"], section)
        if on_cpu:
            if processes() < 2:
                raise UsageError(
                    f"{section}.trainer.deepspeed: on the CPU it takes two processes or more, found one; start it with "
                    f"launch/{section}.sh --cpu 2, or leave the option out"
                )
            import deepspeed.ops

            # Collectives in shared memory: compiled in a minute at the first start, and of no use to a small model.
            deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        if "RANK" not in os.environ:
            os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    if not on_cpu or torch.distributed.is_initialized() or "RANK" not in os.environ:
        return
    if options.get("deepspeed"):
        import deepspeed

        deepspeed.init_distributed(dist_backend="gloo", auto_mpi_discovery=False, verbose=False)
    elif processes() > 1:
        torch.distributed.init_process_group("gloo")


def agreed_checkpoint(folder: Path) -> Path | None:
    """The last whole checkpoint of a folder; the first process looks, so that none sees another's clean-up."""
    import torch

    found = [last_whole(folder) if is_first() else None]
    if torch.distributed.is_initialized():
        from accelerate import PartialState

        torch.distributed.broadcast_object_list(found, device=PartialState().device)
    return found[0]


def save_final(trainer: Any, out: Path, source: str | Path, save: Callable[[str], None]) -> None:
    """Write the final model aside, then publish it as `out`; a collective: every process calls it.

    Args:
        trainer: a transformers trainer.
        out: folder of the final model.
        source: model folder that the training began with; its generation settings and its token set are kept.
        save: function that writes this process's part of model and tokenizer into a folder.
    """
    partial = out.with_name(out.name + PARTIAL)
    if trainer.is_world_process_zero():
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    trainer.accelerator.wait_for_everyone()
    with telling_a_full_disk(partial):
        save(str(partial))
    trainer.accelerator.wait_for_everyone()
    if trainer.is_world_process_zero():
        for kept in (Path(source) / "generation_config.json", Path(source) / FUNCTIONS):
            if kept.is_file():
                shutil.copy(kept, partial / kept.name)
        publish(partial, out)
    trainer.accelerator.wait_for_everyone()


def leave() -> None:
    """Leave the group of processes, if there is one; the last act of a process."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _check_deepspeed(settings: Any, section: str) -> None:
    from importlib.util import find_spec

    name = f"{section}.trainer.deepspeed"
    if find_spec("deepspeed") is None:
        raise UsageError(f"{name}: DeepSpeed is not installed; pip install 'rftt[deepspeed]', or leave the option out")
    if isinstance(settings, str):
        try:
            settings = json.loads(Path(settings).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{name}: {settings} cannot be read ({error}); give a JSON file, e.g. configs/deepspeed/zero2.json"
            ) from error
    if "optimizer" in settings:
        raise UsageError(
            f"{name}: an optimizer of DeepSpeed's own knows no groups of parameters, so weight decay would reach what is to "
            f"stay as it is; leave it out of the file and set {section}.trainer.optim"
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
