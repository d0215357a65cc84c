#!/usr/bin/env bash
# MobileFaceNet, optional stage 4: triplets, from the checkpoint of fine-tuning.
# 30,000 steps of 150 images, five of each of 30 people, at a constant rate of 0.005, without momentum.
#
#   DATA_DIR=path/to/set ./recipes/mobilefacenet/40_triplet.sh [options]
set -euo pipefail
# shellcheck source=recipes/stage.sh
source "$(dirname "${BASH_SOURCE[0]}")/../stage.sh"

begin_triplet "$@"
: "${NETWORK:=y1}" "${EMB_SIZE:=128}"
train_triplet --wd 0.00004 --fc7-wd-mult 10
