#!/usr/bin/env bash
# Installs the locked packages and then the project into one Python: `make setup` and the Dockerfile call it.
#
#   scripts/install.sh PYTHON full|cpu dev|run
#
# full   every package is the one in requirements.lock, its hash checked. On Linux that brings the CUDA libraries: 5 GB on disk.
# cpu    torch comes from PyTorch's own CPU index instead, about 1 GB in all. Its builds there have hashes that the lock
#        does not know, so torch alone goes unchecked. Never tried by the project's own tests, which cannot reach that index.
# dev    editable, with the tools of the dev extra; run: what a server needs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly python=$1 torch=$2 kind=$3

# entries 1|0 NAMES: the lock's entries whose name matches, or (0) all the others.
entries() { awk -v want="$1" -v pattern="^($2)==" '/^[a-z0-9]/ { inside = ($0 ~ pattern) } /^#/ { next } inside == want' requirements.lock; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# uv first, from the lock like all others: it installs the rest in a fraction of pip's time.
if [ "$("$python" -m uv --version 2>/dev/null | cut -d' ' -f2)" != "$(entries 1 uv | sed -n 's/^uv==\([^ ]*\).*/\1/p')" ]; then
  entries 1 uv >"$work/uv.lock"
  "$python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$work/uv.lock"
fi
# Compiled once, here: where Python may write no bytecode, each start of the tagger would compile torch anew (2.5 CPU s).
install() { "$python" -m uv pip install --python "$python" --compile-bytecode "$@"; }

case "$torch" in
  full) cp requirements.lock "$work/lock" ;;
  cpu)
    version=$(entries 1 torch | sed -n 's/^torch==\([^ ]*\).*/\1/p')
    install --torch-backend cpu "torch==$version"
    entries 0 'torch|triton|nvidia-[a-z0-9-]*|cuda-[a-z0-9-]*' >"$work/lock" ;;
  *) echo "install: TORCH is full or cpu, not '$torch'" >&2; exit 2 ;;
esac

case "$kind" in
  dev)
    install --no-deps --require-hashes -r "$work/lock"
    install --no-deps --no-build-isolation --editable . ;;
  run)
    # The lock holds the dev tools too; as a constraint it pins and checks only what the project asks for.
    install --constraint "$work/lock" setuptools
    install --constraint "$work/lock" --no-build-isolation . ;;
  *) echo "install: say dev or run, not '$kind'" >&2; exit 2 ;;
esac
