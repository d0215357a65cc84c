#!/usr/bin/env bash
# Own faces, stage 1 of 9: find and align the faces of raw photos. If a photo has several, take that of the person who is
# in most photos of the folder, by the checkpoint's embeddings. Run it again to add new photos.
#
#   ./recipes/own_faces/10_align.sh PHOTOS --pretrained M [options]
set -euo pipefail
# shellcheck source=recipes/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/../steps.sh"

begin_stage "$@"
# a checkpoint may be trained again under its name: all that was made by the earlier one is to be made again
[[ -n $dry_run ]] || result "$base $(cksum <"$(parameters_of "$base")")"
if [[ -n ${ALIGNED:-} ]]; then
    [[ -n $dry_run ]] || people=$(find -L "$ALIGNED" -mindepth 1 -maxdepth 1 -type d | wc -l)
    [[ -n $dry_run ]] || result "$(find -L "$ALIGNED" -type f -printf '%P %s %T@\n' | LC_ALL=C sort | cksum)"
    end_stage "${people:-0} folders of aligned faces" "" "$ALIGNED"
else
    # shellcheck disable=SC2086  # its words
    step align align-faces "$PHOTOS" "$here/faces" --model "$base" ${ALIGN_OPTIONS:-} ${overwrite:+--overwrite}
    [[ -n $dry_run ]] || result "$(cksum <"$here/faces/faces.csv")"
    end_stage "$(lines align 's/^.*: \([0-9]* faces of .* folders\)$/\1/p')" \
        "$(lines align 's/^  [0-9]* faces found: [0-9]* kept, /rejected faces: /p' \
            's/^  \([0-9]* \(photos without\|folders without a crop\|ambiguous\|crops of\).*\)/\1/p')" \
        "$here/faces/faces.csv, a row per face and per photo without one"
fi
