#!/usr/bin/env bash
# Own faces, stage 5 of 9: merge PUBLIC with your people, without its people who are also among yours, and without people
# in the test sets or among the held-out ones. Copy the verification sets into the set's folder, for training.
#
#   PUBLIC=path/to/faces_emore ./recipes/own_faces/50_merge.sh PHOTOS --pretrained M [options]
set -euo pipefail
# shellcheck source=recipes/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/../steps.sh"

begin_stage "$@"
: "${SAME_COSINE:=0.55}" "${TEST_COSINE:=0.5}"
[[ -n $dry_run || -z ${PUBLIC:-}${tests[*]} ]] || made_from=$(state_of ${PUBLIC:+"$PUBLIC" "$PUBLIC"*.rec} "${tests[@]}")
excluded=$(join "$packed/own.bin" "${tests[@]}")
# shellcheck disable=SC2086  # its words
step merge dataset-merge --include "$clean${PUBLIC:+,$PUBLIC}" --exclude "$excluded" --model "$base" \
    --param1 "$SAME_COSINE" --param2 "$TEST_COSINE" --output "$here/set" --histogram "$here/cosines.png" \
    ${MERGE_OPTIONS:-} --overwrite
set_size 50_merge merge
[[ -n $dry_run ]] || ((people >= 2)) ||
    fail "$here/set: has $people person, too few to train on; see merge.csv there, then raise TEST_COSINE ($TEST_COSINE), with --overwrite"
step check dataset-check "$here/set" --exclude "$excluded" --json "$here/check.json" --html "$here/check.html"
for file in "$packed/own.bin" "${tests[@]}"; do
    [[ -z $dry_run ]] || break
    cp "$file" "$here/test.partial" || fail "$file: could not be copied into $here"
    mv -T "$here/test.partial" "$here/set/$(basename "$file")"
done
end_stage "$(lines merge 's/^.*: \([0-9]* images + [0-9]* identity records\).*/\1/p')" \
    "$(lines merge 's/^\(.*: [0-9]* identities, [0-9]* images: .*\(dropped\|excluded\).*\)$/\1/p')" \
    "$here/set/merge.csv, a row per person; $here/cosines.png, to judge the thresholds by; $here/check.html"
