#!/usr/bin/env bash
# LResNet50E-IR: softmax, then CosFace; TRIPLET=yes adds triplets.
#
#   ./recipes/lresnet50e_ir/all.sh [DATA_DIR] [options]
set -euo pipefail
# shellcheck source=recipes/stage.sh
source "$(dirname "${BASH_SOURCE[0]}")/../stage.sh"

run_all "$@"
