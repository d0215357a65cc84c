#!/usr/bin/env bash
# Own faces, stage 2 of 9: skip people with too few faces, hold out some people, and pack the others as a training set.
# Pairs of held-out people become own.bin, on which the checkpoint is verified before anything is trained.
#
#   ./recipes/own_faces/20_pack.sh PHOTOS --pretrained M [options]
set -euo pipefail
# shellcheck source=recipes/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/../steps.sh"

begin_stage "$@"
step lists dir2lst "$aligned" "$here/train.lst" --min-images "$MIN_IMAGES" --val-ratio "$HELD_OUT" \
    --val-output "$here/held-out.lst" --seed "$SEED" --label-map --overwrite
# shellcheck disable=SC2086  # its words
step records face2rec "$here/train.lst" --output "$here/set" ${PACK_OPTIONS:-} --overwrite
# shellcheck disable=SC2086  # its words
step pairs make-bin "$here/held-out.lst" "$here/own.bin" ${PAIRS:+--pairs "$PAIRS"} --seed "$SEED" \
    --pairs-output "$here/own.csv" ${PACK_OPTIONS:-} --overwrite
step before verification --model "$base" --pairs "$here/own.csv" --image-root . --json "$here/before.json"
end_stage "$(lines lists 's/^.*\(train\|held-out\)\.lst: /\1: /p'); $(lines pairs 's/^.*own\.bin: //p')
              accuracy of $base on the held-out people: $(lines before 's/^\[own\]Accuracy-Flip: //p')" \
    "$(joined "$(lines lists '/ hidden: \.align-faces$/d' '/: faces\.csv$/d' 's/^left out: //p')" "$(lines records 's/^  \([0-9]* files skipped.*\)/\1/p')" \
        "$(lines pairs 's/^  \([0-9]* images cannot be used.*\)/\1/p')")" \
    "$here/train.labels.csv and held-out.labels.csv, who is where; $here/own.csv, the pairs"
