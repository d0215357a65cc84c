#!/usr/bin/env bash
# LResNet50E-IR, optional stage 3: triplets, from the checkpoint of CosFace.
# 30,000 steps of 150 images, five of each of 30 people, at a constant rate of 0.005, without momentum.
#
#   DATA_DIR=path/to/set ./recipes/lresnet50e_ir/30_triplet.sh [options]
set -euo pipefail
# shellcheck source=recipes/stage.sh
source "$(dirname "${BASH_SOURCE[0]}")/../stage.sh"

begin_triplet "$@"
: "${NETWORK:=r50}" "${EMB_SIZE:=512}"
train_triplet --wd 0.0005
