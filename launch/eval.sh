#!/usr/bin/env bash
# Measure the models of a run (rftt eval) on vLLM servers: one model after the other, each on all GPUs of this node.
#
#   launch/eval.sh CONFIG [section.key=value…] [-- OPTION… [-- FLAG…]]
#
# OPTION are options of launch/servers.sh (see its --help), FLAG are flags of vLLM. Where the config says
# `engine.name: vllm`, its engine.options become flags of the servers. The environment variable PYTHON names the interpreter
# (default: python).
#
#   launch/eval.sh configs/qwen2.5-7b-math.yaml run=runs/math -- --servers 8
#
# What has been measured is left alone: an evaluation that was interrupted goes on with the same command.
set -euo pipefail

python=${PYTHON:-python}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

say() { echo "eval.sh: $*" >&2; }
usage() { sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; }

# shellcheck source=launch/arguments.sh
source "$here/arguments.sh"

# Lines: "name folder" of each model that is still to be measured.
models=$("$python" -m rftt.runtime.running_engine --models "$config" "${overrides[@]}") || exit 2

servers='' job=''
end_all() {
    trap - EXIT
    if [[ -n $job ]]; then kill -INT "$job" 2>/dev/null && wait "$job" || true; fi
    if [[ -n $servers ]]; then kill -TERM "$servers" 2>/dev/null && wait "$servers" || true; fi
}
trap end_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

while read -r name folder; do
    [[ -n $name ]] || continue
    exec 3< <(exec "$here/servers.sh" "$folder" "${options[@]}" -- "${settings[@]:2}" "${flags[@]}")
    servers=$!
    mapfile -t urls <&3
    exec 3<&-
    ((${#urls[@]})) || exit 1 # servers.sh has said why
    list=$(printf '"%s", ' "${urls[@]}")
    set -m # in a group of its own: it ends its requests before the servers go
    "$python" -m rftt.cli eval "$config" --model "$name" "${overrides[@]}" "${settings[1]}" engine.name=server \
        "engine.servers=[${list%, }]" &
    job=$!
    set +m
    wait "$job"
    job=''
    kill -TERM "$servers" && wait "$servers" || true
    servers=''
done <<<"$models"
"$python" -m rftt.cli eval "$config" "${overrides[@]}"
