#!/usr/bin/env bash
# MobileFaceNet: softmax, ArcFace, fine-tuning, one after the other; TRIPLET=yes adds triplets.
#
#   ./recipes/mobilefacenet/all.sh [DATA_DIR] [options]
set -euo pipefail
# shellcheck source=recipes/stage.sh
source "$(dirname "${BASH_SOURCE[0]}")/../stage.sh"

run_all "$@"
