#!/usr/bin/env bash
# What launch/sft.sh and launch/rl.sh have in common: use those.
#
#   launch/train.sh PHASE SCRIPT [OPTION…] CONFIG [section.key=value…]
#
# PHASE is sft or rl, SCRIPT the path of the script whose first comment explains the options.
#
# One node is started by torchrun; the nodes of --hostfile by DeepSpeed's launcher, which opens their shells; a job of
# several tasks, as Slurm starts them, by one torchrun on each node: NODES, NODE_RANK and MASTER_ADDR say which.
set -euo pipefail

python=${PYTHON:-python}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

usage() { sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "$1"; }
case ${1:-} in
    sft | rl) ;;
    *)
        usage "${BASH_SOURCE[0]}"
        [[ ${1:-} == -h || ${1:-} == --help ]] && exit 0
        exit 2
        ;;
esac
phase=$1 script=$2
shift 2
say() { echo "$phase.sh: $*" >&2; }
misused() {
    say "$*; see launch/$phase.sh --help"
    exit 2
}

gpus='' cpu='' zero='' hostfile='' port=29500
while (($#)); do
    case $1 in
        -h | --help)
            usage "$script"
            exit 0
            ;;
        --gpus | --cpu | --zero | --hostfile | --port)
            (($# > 1)) || misused "$1 needs a value"
            case $1 in
                --zero) zero=$2 ;;
                --hostfile) hostfile=$2 ;;
                *)
                    [[ $2 =~ ^[1-9][0-9]*$ ]] || misused "$1 is $2, expected a whole number from 1"
                    case $1 in
                        --gpus) gpus=$2 ;;
                        --cpu) cpu=$2 ;;
                        --port) port=$2 ;;
                    esac
                    ;;
            esac
            shift 2
            ;;
        -*) misused "$1 is unknown" ;;
        *) break ;;
    esac
done
(($#)) || misused "CONFIG is missing"
[[ -z $gpus || -z $cpu ]] || misused "--gpus and --cpu exclude each other"
[[ -z $hostfile || -z $cpu ]] || misused "--hostfile and --cpu exclude each other"

overrides=()
if [[ -n $zero ]]; then
    settings=$root/configs/deepspeed/zero$zero.json
    [[ -r $settings ]] || misused "--zero is $zero, expected 2, 2-offload, 3 or 3-offload"
    overrides+=("$phase.trainer.deepspeed=$settings")
fi

if [[ -n $hostfile ]]; then
    [[ -r $hostfile ]] || misused "$hostfile cannot be read"
    exec "$python" -m deepspeed.launcher.runner --hostfile "$hostfile" --master_port "$port" ${gpus:+--num_gpus "$gpus"} \
        --no_local_rank --module rftt.cli "$phase" "$@" "${overrides[@]}"
fi

if [[ -n $cpu ]]; then
    processes=$cpu
    export CUDA_VISIBLE_DEVICES=''
    threads=$(($(nproc) / cpu))
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((threads > 0 ? threads : 1))}
    export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE}
else
    visible=()
    if [[ -n ${CUDA_VISIBLE_DEVICES:-} ]]; then
        IFS=, read -ra visible <<<"$CUDA_VISIBLE_DEVICES"
    elif command -v nvidia-smi >/dev/null; then
        mapfile -t visible < <(nvidia-smi --query-gpu=index --format=csv,noheader)
    fi
    processes=${gpus:-${#visible[@]}}
    ((processes > 0)) || misused "this node has no GPUs (--cpu N takes the CPU)"
    ((processes <= ${#visible[@]})) || misused "--gpus is $processes, but this node has ${#visible[@]}"
fi

if ((${NODES:-1} > 1)); then
    nodes=(--nnodes "$NODES" --node-rank "$NODE_RANK" --master-addr "$MASTER_ADDR" --master-port "${MASTER_PORT:-29500}")
else
    nodes=(--standalone)
fi
exec "$python" -m torch.distributed.run "${nodes[@]}" --nproc-per-node "$processes" -m rftt.cli "$phase" "$@" \
    "${overrides[@]}"
