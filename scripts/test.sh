#!/usr/bin/env bash
# All tests in an order of chance, three at a time: on two cores one of three waits for Kafka, Redis or a minute of the clock.
# A file stays together, so that what it sets up is set up once. `make test` calls it with the Python of the environment.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly python=$1
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} OMP_WAIT_POLICY=PASSIVE
exec "$python" -m pytest -q -n 3 --dist loadscope --no-loadscope-reorder --durations 15 --durations-min 20 tests
