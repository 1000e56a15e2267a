#!/usr/bin/env bash
# All tests, side by side on two cores, in two halves that take about as long; both mix what computes with what waits for Kafka and Redis.
# What the first print is shown when the second have ended. `make test` calls it with the Python of the environment.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly python=$1
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} OMP_WAIT_POLICY=PASSIVE
said=$(mktemp)
trap 'kill "$first" 2>/dev/null; rm -f "$said"' EXIT

"$python" -m pytest -q tests/unit tests/contract tests/acceptance tests/browser >"$said" 2>&1 &
first=$!
"$python" -m pytest tests/integration tests/chaos
second=$?
wait "$first"
first_rc=$?
cat "$said"
exit $((second > first_rc ? second : first_rc))
