#!/usr/bin/env bash
# From photos of your own people: fine-tunes a checkpoint on them, writes a page that compares it before and after, and
# exports files to ship.
#
#   ./recipes/own_faces/all.sh PHOTOS --pretrained prefix,epoch [options]
#   PUBLIC=path/to/faces_emore ./recipes/own_faces/all.sh PHOTOS --pretrained prefix,epoch
set -euo pipefail
# shellcheck source=recipes/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/../steps.sh"

for argument in "$@"; do
    [[ $argument != -h && $argument != --help ]] || { _usage && exit 0; }
done
export STAGES_IN_TURN=yes
run_stages yes "$@"
