#!/usr/bin/env bash
# soak.sh DURATION [PYTEST ARGUMENTS]: the chaos rounds until the time is over, each pass with another seed, ended by the first fault.
# DURATION is a number with s, m or h.
set -euo pipefail
cd "$(dirname "$0")/.."
case "$1" in
*h) seconds=$((${1%h} * 3600)) ;;
*m) seconds=$((${1%m} * 60)) ;;
*s) seconds=${1%s} ;;
*)
    echo "a duration such as 90s, 30m or 8h is needed, not '$1'" >&2
    exit 64
    ;;
esac
shift
end=$((SECONDS + seconds))
passes=0
while [ "$SECONDS" -lt "$end" ]; do
    export FIRESTEEL_TEST_SEED=$((RANDOM * 32768 + RANDOM))
    echo "pass $((passes + 1)), SEED=$FIRESTEEL_TEST_SEED, $((end - SECONDS)) s left"
    .venv/test/bin/python -m pytest -q --timeout 3600 tests/faults/chaos "$@"
    passes=$((passes + 1))
done
echo "$passes passes without a fault"
