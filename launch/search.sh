#!/usr/bin/env bash
# Run the search phase on vLLM servers: start them on this node, search, end them.
#
#   launch/search.sh [--serve] CONFIG [section.key=value…] [-- OPTION… [-- FLAG…]]
#
# --serve starts the servers alone, open to other nodes, and keeps them.
# Model and flags of the servers come from the config: where it says `engine.name: vllm`, its engine.options become flags.
# OPTION are options of launch/servers.sh (see its --help), FLAG are flags of vLLM.
#
# With SERVERS="URL URL…" in the environment, these servers are used and none are started. PYTHON names the interpreter
# (default: python).
#
#   launch/search.sh configs/qwen2.5-7b-math.yaml run=runs/math -- --servers 8
#   SERVERS="http://node1:8000 http://node2:8000" launch/search.sh configs/qwen2.5-7b-math.yaml run=runs/math
#
# A search that was interrupted goes on with the same command.
set -euo pipefail

python=${PYTHON:-python}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

say() { echo "search.sh: $*" >&2; }
usage() { sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; }

serve=0
if [[ ${1:-} == --serve ]]; then
    serve=1
    shift
fi
# shellcheck source=launch/arguments.sh
source "$here/arguments.sh"

start=("$here/servers.sh" "${settings[0]}")
flags=("${settings[@]:2}" "${flags[@]}")
((serve)) && exec "${start[@]}" --host 0.0.0.0 "${options[@]}" -- "${flags[@]}"

if [[ -n ${SERVERS:-} ]]; then
    read -rd '' -a urls <<<"$SERVERS" || true
else
    exec 3< <(exec "${start[@]}" "${options[@]}" -- "${flags[@]}")
    servers=$!
    trap 'kill -TERM "$servers" 2>/dev/null && wait "$servers" || true' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    mapfile -t urls <&3
    ((${#urls[@]})) || exit 1 # servers.sh has said why
fi
list=$(printf '"%s", ' "${urls[@]}")

# In a group of its own: a search that is interrupted ends its requests, and only then the servers go.
set -m
"$python" -m rftt.cli search "$config" "${overrides[@]}" "${settings[1]}" engine.name=server "engine.servers=[${list%, }]" &
job=$!
set +m
trap 'kill -INT "$job" 2>/dev/null || true' INT TERM
code=0
wait "$job" || code=$?
while kill -0 "$job" 2>/dev/null; do
    wait "$job" && code=0 || code=$?
done
exit "$code"
