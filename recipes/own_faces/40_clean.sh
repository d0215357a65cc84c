#!/usr/bin/env bash
# Own faces, stage 4 of 9: drop copies, second people under one name, and strangers, by the checkpoint's embeddings.
#
#   ./recipes/own_faces/40_clean.sh PHOTOS --pretrained M [options]
set -euo pipefail
# shellcheck source=recipes/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/../steps.sh"

begin_stage "$@"
# shellcheck disable=SC2086  # its words
step clean dataset-clean "$packed/set" --model "$base" --output "$here/set" ${CLEAN_OPTIONS:-} --overwrite
end_stage "$(lines clean 's/^.*: \([0-9]* images + [0-9]* identity records\).*/\1/p')" \
    "$(lines clean 's/^.* kept; \(.*\)/\1/p' 's/^\(identities \(that are\|without\).*\)/\1/p')" \
    "$here/set/clean.csv, a row per image"
