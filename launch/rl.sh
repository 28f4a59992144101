#!/usr/bin/env bash
# Online RL over functional tokens (rftt rl), in one process per GPU, on this node or on several.
#
#   launch/rl.sh [OPTION…] CONFIG [section.key=value…]
#
#   --gpus N           processes on this node, one per GPU (default: all of its GPUs)
#   --cpu N            N processes on the CPU
#   --zero STAGE       configs/deepspeed/zeroSTAGE.json: 2, 2-offload, 3 or 3-offload (default: plain data parallelism, or
#                      what the config says under rl.trainer.deepspeed)
#   --hostfile FILE    nodes and their GPUs, as "node1 slots=8" a line; DeepSpeed's launcher reaches them by ssh
#   --port P           port of the first process, with --hostfile (default: 29500)
#
# Everything behind the options is handed to `rftt rl`. Each process searches its own questions on a vLLM engine that shares
# its GPU (rl.trainer.vllm_gpu_memory_utilization is the engine's part), so rl.questions_per_step must be a multiple of the
# number of processes. With --hostfile, all nodes must see this checkout and the run folder under the same path; --gpus then
# says how many GPUs of each node are used. The environment variable PYTHON names the interpreter (default: python). Under
# Slurm, see launch/slurm-train.sbatch.
#
#   launch/rl.sh --gpus 8 --zero 3 configs/qwen2.5-7b-math.yaml run=runs/math
#
# A training that was interrupted goes on with the same command.
set -euo pipefail

exec "$(dirname "${BASH_SOURCE[0]}")/train.sh" rl "${BASH_SOURCE[0]}" "$@"
