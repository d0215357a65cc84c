#!/usr/bin/env bash
# Own faces, stage 3 of 9: decode every image of the training set and compare it with the others. Errors stop the recipe;
# warnings, such as one image under two people, are for you to judge.
#
#   ./recipes/own_faces/30_check.sh PHOTOS --pretrained M [options]
set -euo pipefail
# shellcheck source=recipes/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/../steps.sh"

begin_stage "$@"
step check dataset-check "$packed/set" --deep --json "$here/check.json" --html "$here/check.html"
end_stage "$(lines check 's/^\([0-9]* images of [0-9]* identities\).*/\1/p' 's/^.*train\.rec: \([0-9]* error.*\)/\1/p')" \
    "nothing: this stage only looks" "$here/check.html"
