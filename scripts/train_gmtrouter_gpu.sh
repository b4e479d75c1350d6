#!/usr/bin/env bash
# Train the personal graph router on a GPU with its authors' values of the options.
#
#   scripts/train_gmtrouter_gpu.sh history.jsonl pool.yaml [--out checkpoints/gmtrouter] [further options of aamc train]
#
# history.jsonl: rated interactions of users; pool.yaml: the models with their descriptions (docs/how-to/personalize.md).
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: $0 HISTORY POOL [OPTION...]" >&2
    exit 2
fi
history=$1 pool=$2
shift 2
exec aamc train --config configs/gmtrouter_config.yaml --dataset "interactions:$history" --pool "$pool" --device cuda --out checkpoints/gmtrouter "$@"
