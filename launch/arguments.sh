# shellcheck shell=bash disable=SC2034,SC2154
# Read by launch/search.sh and launch/eval.sh, not run: takes their command line apart.
#
#   CONFIG [section.key=value…] [-- OPTION… [-- FLAG…]]
#
# Sets config, overrides, options and flags, and settings: what `python -m rftt.runtime.running_engine` prints, a line each. Needs python,
# and the functions say and usage of the script.

case ${1:-} in
    -h | --help)
        usage
        exit 0
        ;;
    '' | -*)
        say "CONFIG is missing; see launch/${0##*/} --help"
        exit 2
        ;;
esac
config=$1
shift
overrides=()
while (($#)) && [[ $1 != -- ]]; do
    overrides+=("$1")
    shift
done
options=() flags=()
if (($#)); then
    shift
    while (($#)) && [[ $1 != -- ]]; do
        options+=("$1")
        shift
    done
    if (($#)); then flags=("${@:2}"); fi
fi

# Lines: the model, engine.options as a search needs them, the flags of the servers.
settings=$("$python" -m rftt.runtime.running_engine "$config" "${overrides[@]}") || exit 2
mapfile -t settings <<<"$settings"
