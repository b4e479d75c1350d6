#!/usr/bin/env bash
# Train Router-R1 on the GPUs of this machine.
#
#   scripts/train_router_r1_gpu.sh --data data/router_r1.jsonl --pool pool.yaml --output_dir checkpoints/router_r1 --num_epochs 10 --batch_size 32
#
# Defaults are the paper's: 225 updates of 64 questions, unless --num_epochs is given. Further arguments go to aamc train.
set -euo pipefail
data= pool= model= output_dir=checkpoints/router_r1 num_epochs= batch_size=64
more=()
while [ $# -gt 0 ]; do
  case "$1" in
    --data) data=$2; shift 2 ;;
    --pool) pool=$2; shift 2 ;;
    --model) model=$2; shift 2 ;;
    --output_dir) output_dir=$2; shift 2 ;;
    --num_epochs) num_epochs=$2; shift 2 ;;
    --batch_size) batch_size=$2; shift 2 ;;
    *) more+=("$1"); shift ;;
  esac
done
if [ -z "$data" ]; then echo "name the training records: --data FILE (scripts/prepare_training_data.py writes them)" >&2; exit 2; fi
if [ -d "$output_dir" ]; then
  echo "$output_dir exists: resuming it with its own options, not with those given here" >&2
  exec aamc train --resume "$output_dir"
fi
gpus=$(nvidia-smi --list-gpus 2>/dev/null | wc -l) || gpus=0
processes=$((gpus > 1 ? gpus : 1))
while ((batch_size % processes || 32 % processes)); do processes=$((processes - 1)); done # both stages divide their batches, warm_start_batch_size=32
exec aamc train --orchestrator router-r1 --dataset "router-r1:$data" ${pool:+--pool "$pool"} --out "$output_dir" \
  ${model:+--set "orchestrator.model=$model"} ${num_epochs:+--set "orchestrator.num_epochs=$num_epochs"} \
  --set "orchestrator.batch_size=$batch_size" --set "orchestrator.processes=$processes" ${more[@]+"${more[@]}"}
