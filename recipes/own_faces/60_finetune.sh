#!/usr/bin/env bash
# Own faces, stage 6 of 9: ArcFace from the checkpoint, with new class weights. The first fifth of the steps trains only
# these, so that their random values do not disturb the network; the others train all of it, at a low rate.
#
#   ./recipes/own_faces/60_finetune.sh PHOTOS --pretrained M [options]
set -euo pipefail
# shellcheck source=recipes/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/../steps.sh"

default_batch=64 default_ckpt=2 # no checkpoint is chosen by the held-out people, who are to judge the result
begin_stage "$@"
set_size 50_merge merge
: "${LR:=0.005}" "${LR_SCHEDULE:=cosine}" "${EPOCHS:=10}"
# at most as many images as in the published fine-tuning, 40,000 steps of 512
: "${MAX_STEPS:=$(between 100 $((EPOCHS * images / BATCH_SIZE)) $((40000 * 512 / BATCH_SIZE)))}"
: "${VERBOSE:=$(((MAX_STEPS + 3) / 4))}"
DATA_DIR=$merged MODELS=$work/60_finetune PRETRAINED=$base PREFIX=$here/model TARGET=$(targets own)
training train-softmax --loss-type 4 --margin-s 64 --margin-m 0.5 --freeze-backbone-steps $((MAX_STEPS / 5)) --color 1 \
    --max-fall 5
# shellcheck disable=SC2086  # its words
step finetune "${command[@]}" ${FINETUNE_OPTIONS:-}
[[ -n $dry_run ]] || record_last
end_stage "accuracy on the held-out people: $(accuracies)" \
    "$(lines finetune 's/^.*loaded .*; left fresh: \(.*\)/of the checkpoint, arrays that do not fit: \1/p')" \
    "$here/model-log.jsonl (insight plot-log draws it); $(last_model 60_finetune)"
