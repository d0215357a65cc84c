#!/usr/bin/env bash
# LResNet50E-IR, stage 2 of 2: CosFace, s = 64, m = 0.35, from the softmax stage's last checkpoint.
# 200,000 steps of 512 images at rate 0.1, divided by ten at 100, 140 and 160 thousand steps.
#
#   DATA_DIR=path/to/set ./recipes/lresnet50e_ir/20_cosface.sh [options]
set -euo pipefail
# shellcheck source=recipes/stage.sh
source "$(dirname "${BASH_SOURCE[0]}")/../stage.sh"

begin "$@"
: "${NETWORK:=r50}" "${EMB_SIZE:=512}" "${LR:=0.1}"
length "100000 140000 160000" 200000
train --loss-type 2 --margin-s 64 --margin-m 0.35 --wd 0.0005
