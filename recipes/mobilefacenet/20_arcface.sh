#!/usr/bin/env bash
# MobileFaceNet, stage 2 of 3: ArcFace, s = 64, m = 0.5, from the softmax stage's last checkpoint.
# 200,000 steps of 512 images at rate 0.1, divided by ten at 120, 160 and 180 thousand steps.
#
#   DATA_DIR=path/to/set ./recipes/mobilefacenet/20_arcface.sh [options]
set -euo pipefail
# shellcheck source=recipes/stage.sh
source "$(dirname "${BASH_SOURCE[0]}")/../stage.sh"

begin "$@"
: "${NETWORK:=y1}" "${EMB_SIZE:=128}" "${LR:=0.1}"
length "120000 160000 180000" 200000
train --loss-type 4 --margin-s 64 --margin-m 0.5 --wd 0.00004 --fc7-wd-mult 10
