#!/bin/sh
# One night's work for cron: extract what is new, then train a head. Prints nothing where all is well, so that
# cron sends no mail; else the last lines of the log, and ends with the exit code of what failed.
#
#   BOTTLENECKS  the installed command, /opt/bottlenecks/bin/bottlenecks if not said
#   STORE, DATA  folder of the features and heads, and where the images are
#   EXTRACT_ARGS, TRAIN_ARGS  further flags, separated by spaces: "--features=photos --remove-gone"
set -u
: "${STORE:?STORE is not set: name the folder that holds the features and the heads}"
: "${DATA:?DATA is not set: name the images}"
: "${BOTTLENECKS:=/opt/bottlenecks/bin/bottlenecks}"

mkdir -p "$STORE/logs" || exit 1
log="$STORE/logs/nightly-$(date +%Y-%m-%d).log"

fail() {
    code=$1
    shift
    echo "bottlenecks: $* (exit code $code, log $log)"
    exit "$code"
}

# The lock is on an open file, and the commands inherit it: it is held until the last of them has ended, even if
# this script is killed, and nothing is left behind after a power cut.
exec 9>"$STORE/nightly.lock"
flock --nonblock 9 || fail 75 "an earlier night is still at work, this one is left out"

run() {
    { echo "$(date "+%Y-%m-%d %H:%M:%S") $*" && "$BOTTLENECKS" "$@"; } >>"$log" 2>&1
    code=$?
    [ "$code" = 0 ] || {
        tail -n 20 "$log"
        fail "$code" "$1 failed"
    }
}

# Unquoted on purpose: several flags in one variable.
# shellcheck disable=SC2086
run extract --store="$STORE" --data="$DATA" ${EXTRACT_ARGS:-}
# shellcheck disable=SC2086
run train-head --store="$STORE" ${TRAIN_ARGS:-}

# One log a night would fill the folder in the end.
find "$STORE/logs" -name 'nightly-*.log' -mtime +90 -delete
