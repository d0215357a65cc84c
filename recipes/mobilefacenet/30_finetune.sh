#!/usr/bin/env bash
# MobileFaceNet, stage 3 of 3: ArcFace with s = 128, m = 0.5, at a low rate; improves pairs far apart in age.
# 40,000 steps of 512 images at rate 0.001, divided by ten at 20 and 30 thousand steps.
#
#   DATA_DIR=path/to/set ./recipes/mobilefacenet/30_finetune.sh [options]
set -euo pipefail
# shellcheck source=recipes/stage.sh
source "$(dirname "${BASH_SOURCE[0]}")/../stage.sh"

begin "$@"
: "${NETWORK:=y1}" "${EMB_SIZE:=128}" "${LR:=0.001}"
length "20000 30000" 40000
train --loss-type 4 --margin-s 128 --margin-m 0.5 --wd 0.00004 --fc7-wd-mult 10
