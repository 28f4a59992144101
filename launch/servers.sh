#!/usr/bin/env bash
# Start vLLM servers of one model on this node and keep them until this script is ended.
#
#   launch/servers.sh MODEL [OPTION…] [-- FLAG…]
#
# Prints the URLs of the servers, one per line, as soon as all of them are up, and closes its standard output; everything
# else goes to standard error and to the log folder. TERM, INT and the end of the script end the servers.
#
#   MODEL                  model folder or hub name
#   --servers N            how many servers (default: as many as the GPUs of this node allow; 1 without GPUs)
#   --gpus-per-server K    GPUs of one server, by tensor parallelism (default: 1); 0 runs on the CPU
#   --host HOST            where they listen (default: 127.0.0.1); 0.0.0.0 opens them to other nodes
#   --port P               port of the first one, the others count up from it (default: 8000)
#   --logs DIR             folder of server-N.log and server-N.pid (default: a new one under TMPDIR)
#   --wait SECONDS         time until all must be up (default: 1800)
#   -- FLAG…               flags of vLLM, passed on as they are; they win over what is chosen here
#
# The environment variable PYTHON names the interpreter that has vLLM (default: python). CUDA_VISIBLE_DEVICES, where it is
# set, lists the GPUs that are shared out.
#
#   launch/servers.sh Qwen/Qwen2.5-7B-Instruct --servers 8 -- --max-model-len 8192 --gpu-memory-utilization 0.9
set -euo pipefail

python=${PYTHON:-python}

say() { echo "servers.sh: $*" >&2; }
usage() { sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; }
misused() {
    say "$*; see launch/servers.sh --help"
    exit 2
}

model='' servers='' gpus_per_server=1 host=127.0.0.1 port=8000 logs='' limit=1800
while (($#)); do
    case $1 in
        -h | --help)
            usage
            exit 0
            ;;
        --)
            shift
            break
            ;;
        --servers | --gpus-per-server | --host | --port | --logs | --wait)
            (($# > 1)) || misused "$1 needs a value"
            case $1 in
                --host) host=$2 ;;
                --logs) logs=$2 ;;
                *)
                    [[ $2 =~ ^[0-9]+$ ]] || misused "$1 is $2, expected a whole number"
                    case $1 in
                        --servers) servers=$2 ;;
                        --gpus-per-server) gpus_per_server=$2 ;;
                        --port) port=$2 ;;
                        --wait) limit=$2 ;;
                    esac
                    ;;
            esac
            shift 2
            ;;
        -*) misused "$1 is unknown (flags of vLLM come after --)" ;;
        *)
            [[ -z $model ]] || misused "$1 is one argument too many (flags of vLLM come after --)"
            model=$1
            shift
            ;;
    esac
done
[[ -n $model ]] || misused "MODEL is missing"

gpus=()
chosen=(--enable-prefix-caching --enable-prompt-tokens-details)
if ((gpus_per_server == 0)); then
    servers=${servers:-1}
    # As rftt's own vLLM engine: seeded requests must be prefilled in one piece on a CPU, the memory share counts one NUMA
    # node, and the default block of 128 tokens keeps short common beginnings out of the cache.
    chosen+=(--gpu-memory-utilization 0.1 --no-enable-chunked-prefill --max-num-batched-tokens 8192 --block-size 32)
    threads=$(($(nproc) / (servers > 0 ? servers : 1)))
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((threads > 0 ? threads : 1))}
    export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE}
    export VLLM_CPU_KVCACHE_SPACE=${VLLM_CPU_KVCACHE_SPACE:-1}
    export VLLM_CPU_OMP_THREADS_BIND=${VLLM_CPU_OMP_THREADS_BIND:-nobind}
    export VLLM_ENABLE_V1_MULTIPROCESSING=${VLLM_ENABLE_V1_MULTIPROCESSING:-0} # no worker process beside the engine's
else
    if [[ -n ${CUDA_VISIBLE_DEVICES:-} ]]; then
        IFS=, read -ra gpus <<<"$CUDA_VISIBLE_DEVICES"
    elif command -v nvidia-smi >/dev/null; then
        mapfile -t gpus < <(nvidia-smi --query-gpu=index --format=csv,noheader)
    fi
    servers=${servers:-$((${#gpus[@]} / gpus_per_server))}
    ((${#gpus[@]} >= servers * gpus_per_server && servers > 0)) ||
        misused "$servers servers of $gpus_per_server GPUs, but this node has ${#gpus[@]} (--gpus-per-server 0 takes the CPU)"
    chosen+=(--tensor-parallel-size "$gpus_per_server")
fi
((servers > 0)) || misused "--servers is 0, expected 1 or more"
export VLLM_NO_USAGE_STATS=${VLLM_NO_USAGE_STATS:-1}

logs=${logs:-$(mktemp -d "${TMPDIR:-/tmp}/rftt-servers.XXXXXX")}
mkdir -p "$logs"
pids=()

# A server is a group of processes: its leader, which answers HTTP, and the engine behind it.
leads() { kill -0 "$1" 2>/dev/null; }
# shellcheck disable=SC2329 # for the trap
any_left() {
    local pid
    for pid in "${pids[@]}"; do
        if kill -0 -- "-$pid" 2>/dev/null; then return 0; fi
    done
    return 1
}
# shellcheck disable=SC2329 # for the trap
end_servers() {
    trap - EXIT
    trap '' INT TERM
    local pid
    for pid in "${pids[@]}"; do kill -TERM -- "-$pid" 2>/dev/null || true; done
    for ((i = 0; i < 100; i++)); do
        any_left || return 0
        sleep 0.1
    done
    for pid in "${pids[@]}"; do kill -KILL -- "-$pid" 2>/dev/null || true; done
}
trap end_servers EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# A stranger on the port would answer for a server of ours that cannot have it.
is_taken() {
    local code=0
    "$python" -c 'import socket, sys
family, *_, address = socket.getaddrinfo(sys.argv[1], int(sys.argv[2]), type=socket.SOCK_STREAM)[0]
listener = socket.socket(family)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
try:
    listener.bind(address)
except OSError:
    sys.exit(3)' "$host" "$1" 2>/dev/null || code=$?
    ((code == 3))
}
for ((i = 0; i < servers; i++)); do
    if is_taken $((port + i)); then
        misused "$host:$((port + i)) is in use or no address of this node; give another --port or --host"
    fi
done

urls=()
for ((i = 0; i < servers; i++)); do
    if ((gpus_per_server > 0)); then
        slice=("${gpus[@]:i*gpus_per_server:gpus_per_server}")
        CUDA_VISIBLE_DEVICES=$(IFS=,; echo "${slice[*]}")
        export CUDA_VISIBLE_DEVICES
    fi
    # `vllm serve` needs the distribution called vllm, which the builds for CPUs are not; this works with both.
    setsid "$python" -m vllm.entrypoints.openai.api_server --model "$model" --host "$host" --port $((port + i)) \
        "${chosen[@]}" "$@" >"$logs/server-$i.log" 2>&1 </dev/null &
    pids+=($!)
    echo $! >"$logs/server-$i.pid"
    urls+=("http://$([[ $host == 0.0.0.0 ]] && hostname || echo "$host"):$((port + i))")
done
say "$servers servers of $model start; logs in $logs"

is_up() {
    "$python" -c 'import sys, urllib.request as r; r.build_opener(r.ProxyHandler({})).open(sys.argv[1], timeout=5)' \
        "$1/health" 2>/dev/null
}
check_servers() {
    local j
    for ((j = 0; j < servers; j++)); do
        if ! leads "${pids[j]}"; then
            say "server $j ended before it was up; the end of $logs/server-$j.log:"
            tail -n 20 "$logs/server-$j.log" >&2
            exit 1
        fi
    done
}
for ((i = 0; i < servers; i++)); do
    until is_up "${urls[i]}"; do
        check_servers
        if ((SECONDS > limit)); then
            say "${urls[i]} is not up after $limit s (--wait); see $logs/server-$i.log"
            exit 1
        fi
        sleep 0.5
    done
done
check_servers

printf '%s\n' "${urls[@]}"
exec >&2
say "all up after $SECONDS s"

# Those who ask know what to do without a server that dies; the others go on.
alive=("${!pids[@]}")
while ((${#alive[@]})); do
    sleep 1 &
    wait $! || true
    for i in "${alive[@]}"; do
        if ! leads "${pids[i]}"; then
            say "${urls[i]} has ended; see $logs/server-$i.log"
            kill -KILL -- "-${pids[i]}" 2>/dev/null || true
            unset 'alive[i]'
        fi
    done
done
say "no server is left"
exit 1
