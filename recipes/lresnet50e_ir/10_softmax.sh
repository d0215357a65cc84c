#!/usr/bin/env bash
# LResNet50E-IR, stage 1 of 2: softmax, embeddings of 512 values.
# 80,000 steps of 512 images at rate 0.1, divided by ten at 40 and 60 thousand steps.
#
#   DATA_DIR=path/to/set ./recipes/lresnet50e_ir/10_softmax.sh [options]
set -euo pipefail
# shellcheck source=recipes/stage.sh
source "$(dirname "${BASH_SOURCE[0]}")/../stage.sh"

begin "$@"
: "${NETWORK:=r50}" "${EMB_SIZE:=512}" "${LR:=0.1}"
length "40000 60000" 80000
train --loss-type 0 --fc7-no-bias --wd 0.0005 # no bias: CosFace has none, and takes these class weights over
