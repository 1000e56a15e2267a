#!/usr/bin/env bash
# All tests, side by side on two cores: those that compute, and those that mostly wait for Kafka, Redis and a browser.
# What the first print is shown when the second have ended. `make test` calls it with the Python of the environment.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly python=$1
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} OMP_WAIT_POLICY=PASSIVE
said=$(mktemp)
trap 'kill "$computing" 2>/dev/null; rm -f "$said"' EXIT

"$python" -m pytest -q tests/unit tests/contract >"$said" 2>&1 &
computing=$!
"$python" -m pytest tests/integration tests/acceptance tests/browser tests/chaos
waiting=$?
wait "$computing"
computed=$?
cat "$said"
exit $((waiting > computed ? waiting : computed))
