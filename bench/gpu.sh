#!/bin/sh
# Everything about compiled engines that takes a GPU, in one go: the tests marked gpu, the gate of each engine, and the
# table of bench/engine.py, into bench/results/gpu/. See docs/gpu.md. This script has not run yet: no machine with a GPU
# was to be had.
#
#     bench/gpu.sh [POLICY]      a policy directory (models/f1_belt)
set -eu
cd "$(dirname "$0")/.."
policy=${1:-models/f1_belt}
out=bench/results/gpu
engines="tensorrt_rtx tensorrt_rtx_fp16 tensorrt_rtx_bf16"
status=0

.venv/bin/python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || {
  echo "PyTorch finds no CUDA GPU. Check nvidia-smi, and that .venv has PyTorch's build for CUDA." >&2
  exit 1
}
mkdir -p "$out"
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv | tee "$out/device.csv"
.venv/bin/pytest -q -m gpu || status=1
for engine in $engines; do
  .venv/bin/f1-ros engine build --policy "$policy" --engine "$engine" --out "runs/gpu/$engine"
  .venv/bin/f1-ros engine check "runs/gpu/$engine" --policy "$policy" --json "$out/check_$engine.json" || status=1
done
# shellcheck disable=SC2086  # a list of words
.venv/bin/python bench/engine.py --policy "$policy" --device cuda --engines released $engines --out "$out" || status=1
exit "$status"
