#!/usr/bin/env bash
# MobileFaceNet, stage 1 of 3: softmax, which moves class centres near their faces before a margin is added.
# 120,000 steps of 512 images at rate 0.1; fc7 without bias, with ten times the weight decay.
#
#   DATA_DIR=path/to/set ./recipes/mobilefacenet/10_softmax.sh [options]
set -euo pipefail
# shellcheck source=recipes/stage.sh
source "$(dirname "${BASH_SOURCE[0]}")/../stage.sh"

begin "$@"
: "${NETWORK:=y1}" "${EMB_SIZE:=128}" "${LR:=0.1}"
length "120000 140000" 120000 # the next stage starts from rate 0.1 again, so this one ends before its first fall
train --loss-type 0 --fc7-no-bias --wd 0.00004 --fc7-wd-mult 10
