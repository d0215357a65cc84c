#!/usr/bin/env bash
# Trains a small network on ten made-up people, tries it on ten others, and writes a page on it.
#
#   examples/ten_people.sh [OUT]      (default: runs/ten_people; must not exist)
#
# STEPS=200 trains longer, IMAGES=12 draws fewer pictures of each person (20). The defaults take a few minutes.
set -euo pipefail

out=${1:-runs/ten_people}
[[ ! -e $out ]] || { echo "$out: exists already; name another folder" >&2 && exit 2; }
set -x

insight made-up-faces "$out/faces" --identities 20 --images "${IMAGES:-20}"
insight dir2lst "$out/faces" "$out/train.lst" --val-ratio 0.5 # the other ten people are in val.lst
insight face2rec "$out/train.lst" --output "$out/set"
insight dataset-check "$out/set"
insight make-bin "$out/val.lst" "$out/set/val.bin" --pairs 400

# No best checkpoint is chosen by the people that the page shows: the last one is kept.
insight train-softmax --data-dir "$out/set" --target val --prefix "$out/model/y1" --network y1 --emb-size 128 --loss-type 0 \
    --per-batch-size 32 --lr 0.05 --max-steps "${STEPS:-100}" --verbose "${STEPS:-100}" --ckpt 2
insight report --model "$out/model/y1,1" --data-dir "$out/set" --target val --log "$out/model/y1-log.jsonl" --output "$out/page.html"
set +x
echo "look at $out/page.html"
