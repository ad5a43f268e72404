#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds slimpipe, then plans and simulates Llama 3.1 70B at a context of 512K tokens on 128 H100s:
# first with every knob given, then with none. At last a small plan is
# replayed for real and held against its prediction.
set -eu
cd "$(dirname "$0")"

./scripts/install-deps.sh run
[ -f build/build.ninja ] || meson setup build >build.log 2>&1 || { cat build.log >&2; exit 1; }
rm -f build.log
ninja --quiet -C build cli/slimpipe
export PATH="$PWD/build/cli:$PATH"
mkdir -p out

show() {
    printf '\n$ %s\n' "$*"
    "$@"
}

show slimpipe plan --model llama-3.1-70b --cluster h100 --gpus 128 --seq-len 512K --batch-tokens 4M \
    --tp 4 --cp 2 --pp 16 --vpp 5 --slices 32 --recompute selective --exchange pairwise -o out/plan.json
show slimpipe check out/plan.json
show slimpipe simulate out/plan.json --text --svg out/timeline.svg --timeline out/timeline.json
show slimpipe plan --model llama-3.1-70b --cluster h100 --gpus 128 --seq-len 512K --batch-tokens 4M -o out/best.json
show slimpipe simulate out/best.json --text --svg out/best.svg
show slimpipe plan --model examples/tiny-llama.json --cluster host --pp 4 --vpp 2 --slices 8 --seq-len 2K \
    --microbatches 2 --exchange optimal -o out/tiny.json
show slimpipe validate out/tiny.json --svg out/compared.svg

cat <<EOF

out/plan.json      the plan
out/timeline.svg   the picture
out/timeline.json  the timeline, for https://ui.perfetto.dev
out/best.json      the plan that a search over everything found, and out/best.svg its picture
out/compared.svg   a small plan, trained for real on this machine: predicted above measured
EOF
