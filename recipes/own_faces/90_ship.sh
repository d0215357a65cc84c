#!/usr/bin/env bash
# Own faces, stage 9 of 9: export the network without its classifier as ONNX, as ONNX in 8 bits, and for ncnn, each
# checked on held-out people against MXNet before it is kept; then measure the speed of each on this machine.
#
#   ./recipes/own_faces/90_ship.sh PHOTOS --pretrained M [options]
set -euo pipefail
# shellcheck source=recipes/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/../steps.sh"

begin_stage "$@"
set_size 40_clean clean
slim=$here/model,0 faces=$packed/own.bin
step slim model-slim --model "$(trained_model)" --output "$here/model" --faces "$faces" --overwrite
step onnx export-onnx --model "$slim" --output "$here/model.onnx" --graph fast --faces "$faces" --overwrite
# shellcheck disable=SC2086  # its words
step int8 export-onnx --model "$slim" --output "$here/model-int8.onnx" --int8 --calibrate "$clean/train.rec" \
    --num-calibrate "$(between 1 "$images" 200)" --faces "$faces" --target-bin "$faces" ${INT8_OPTIONS:-} --overwrite
step ncnn export-ncnn --model "$slim" --output "$here/model-ncnn" --dtype float16 --faces "$faces" --overwrite
# shellcheck disable=SC2086  # its words
step benchmark benchmark --model "$slim" "$here/model-int8.onnx" "$here/model-ncnn.param" --input "$faces" \
    --csv "$here/benchmark.csv" ${BENCHMARK_OPTIONS:---batch 1 --rounds 2} --overwrite
end_stage "$(lines slim 's/^.*: \([0-9.]* MB\)$/slim \1/p'); $(lines onnx 's/^.*: \([0-9.]* MB\), .*/ONNX \1/p'); \
$(lines int8 's/^.*int8\.onnx: \([0-9.]* MB\), .*/8 bits \1/p' 's/^.*own\.bin: //p'); $(lines ncnn 's/^.*: \([0-9.]* MB\), .*/ncnn \1/p')" \
    "" "$here/benchmark.csv; $here/model.onnx, model-int8.onnx, model-ncnn.param and .bin; $work/80_verify/report.html"
