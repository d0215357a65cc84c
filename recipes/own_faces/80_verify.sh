#!/usr/bin/env bash
# Own faces, stage 8 of 9: compare the checkpoint before and after, on the held-out people and on the test sets: a page
# with the intervals of the differences, and a model card.
#
#   ./recipes/own_faces/80_verify.sh PHOTOS --pretrained M [options]
set -euo pipefail
# shellcheck source=recipes/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/../steps.sh"

begin_stage "$@"
sets=(--pairs "$packed/own.csv" --image-root .)
# shellcheck disable=SC2119  # no words before those of the test sets
((!${#tests[@]})) || sets+=(--data-dir "$merged" --target "$(targets)")
logs=("$work/60_finetune/model-log.jsonl")
[[ $TRIPLET == no ]] || logs+=("$work/70_triplet/model-log.jsonl")
# shellcheck disable=SC2086  # its words
step report report --model "$(trained_model)" --before "$base" "${sets[@]}" --log "${logs[@]}" --title "Own faces" \
    --output "$here/report.html" --card "$here/card.md" ${REPORT_OPTIONS:-} --overwrite
end_stage "$(lines report 's/^\([^:]*: before, with .*\)/\1/p' | sed 's/; \([^;:]*: before, with\)/\n              \1/g')" \
    "" "$here/report.html, $here/card.md"
