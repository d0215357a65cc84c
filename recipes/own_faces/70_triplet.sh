#!/usr/bin/env bash
# Own faces, stage 7 of 9: triplets, from the checkpoint of fine-tuning; TRIPLET=no skips the stage.
#
#   ./recipes/own_faces/70_triplet.sh PHOTOS --pretrained M [options]
set -euo pipefail
# shellcheck source=recipes/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/../steps.sh"

default_batch=150 default_ckpt=2
begin_stage "$@"
if [[ $TRIPLET == no ]]; then
    echo "    TRIPLET=no: left out"
    exit
fi
set_size 50_merge merge
most=$((5 * people / 2)) # five images of each of at most half of the people
if ((most >= 10 && BATCH_SIZE > most)); then BATCH_SIZE=$most; fi
: "${LR:=0.005}"
: "${MAX_STEPS:=$(between 50 $((2 * images / BATCH_SIZE)) $((30000 * 150 / BATCH_SIZE)))}"
: "${VERBOSE:=$(((MAX_STEPS + 3) / 4))}"
DATA_DIR=$merged MODELS=$work/60_finetune PRETRAINED=$(last_model 60_finetune) PREFIX=$here/model TARGET=$(targets own)
training train-triplet --mom 0 --negatives hardest
# shellcheck disable=SC2086  # its words
step triplet "${command[@]}" ${TRIPLET_OPTIONS:-}
[[ -n $dry_run ]] || record_last
end_stage "accuracy on the held-out people: $(accuracies)" \
    "" "$here/model-log.jsonl (insight plot-log draws it); $(last_model 70_triplet)"
