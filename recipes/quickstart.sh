#!/usr/bin/env bash
# From photos of people to a shipped model: data, aligned faces, lists, records, two training stages,
# verification, slimming, ONNX. Every stage is an `insight` command, shown before it runs.
#
#   ./recipes/quickstart.sh [ALIGNED_DIR | --photos DIR] [--output DIR] [--stage N] [--dry-run]
#
#   ALIGNED_DIR   aligned 112x112 faces, a folder per identity; none: faces are made up
#   --photos DIR  raw photos, a folder per identity; their faces are found and aligned first
#   --output DIR  where the run's files go (default: runs/quickstart, then runs/quickstart-2, …)
#   --stage N     resume the newest run (or the one in --output DIR) from stage N
#   --dry-run     print the commands and stop; nothing is installed or written
#
# The training is fitted to the machine: a few steps are timed first, and if the long training would take more than
# MINUTES (10) from then on, the short one is used, with lower accuracy.
#
# Environment: MINUTES; TRAINING=long or short makes the choice; SOFTMAX_STEPS, ARCFACE_STEPS, BATCH_SIZE, VAL_RATIO,
# PAIRS, SEED change the sizes.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=recipes/words.sh
source "$ROOT/recipes/words.sh"
# shellcheck source=recipes/pace.sh
source "$ROOT/recipes/pace.sh"
MINUTES=${MINUTES:-10}
TRAINING=${TRAINING:-}
VAL_RATIO=${VAL_RATIO:-0.25}
PAIRS=${PAIRS:-1200}
SEED=${SEED:-0}

usage() { sed -n '2,/^set -euo/p' "${BASH_SOURCE[0]}" | sed '/^set -euo/d; s/^# \{0,1\}//'; }

faces='' photos='' work='' first=1 dry_run=''
while (($#)); do
    case $1 in
        -h | --help) usage && exit 0 ;;
        --photos) photos=${2:?--photos takes a folder} && shift ;;
        --output) work=${2:?--output takes a folder} && shift ;;
        --stage) first=${2:?--stage takes a number} && shift ;;
        --dry-run) dry_run=yes ;;
        -*) fail "$1: no such option; see --help" ;;
        *) [[ -z $faces ]] || fail "$1: one folder only; see --help" && faces=$1 ;;
    esac
    shift
done
[[ $MINUTES =~ ^[1-9][0-9]*$ ]] || fail "MINUTES=$MINUTES: must be a whole number, at least 1"
sizes "${TRAINING:-long}"
[[ $first =~ ^([1-9]|1[012])$ ]] || fail "--stage $first: stages are 1 to 12; see --dry-run"
[[ -z $faces || -z $photos ]] || fail "$faces, --photos $photos: give aligned faces or photos, not both"
if [[ -n $faces ]]; then
    [[ -d $faces ]] || fail "$faces: no such folder; give a folder that holds a folder per identity"
    faces=$(cd "$faces" && pwd)
elif [[ -n $photos ]]; then
    [[ -d $photos ]] || fail "--photos $photos: no such folder; give a folder that holds a folder per identity"
    photos=$(cd "$photos" && pwd)
fi

newest_run() { # the last of runs/quickstart, runs/quickstart-2, … or nothing
    find "$ROOT/runs" -maxdepth 1 -type d \( -name quickstart -o -name 'quickstart-[0-9]*' \) 2>/dev/null |
        sort -V | tail -n 1 || true
}

if [[ -z $work ]]; then
    work=$(newest_run)
    if ((first > 1)); then
        [[ -n $work ]] || fail "--stage $first: there is no earlier run in runs/; start without --stage"
    elif [[ -z $work ]]; then
        work=$ROOT/runs/quickstart
    else
        number=${work##*quickstart} && number=${number#-}
        work=$ROOT/runs/quickstart-$((${number:-1} + 1))
    fi
elif ((first == 1)) && [[ -n $(ls -A "$work" 2>/dev/null) ]]; then
    fail "--output $work: is not empty; name a new folder, or resume there with --stage N"
fi
[[ $work = /* ]] || work=$PWD/$work
cd "$ROOT"
work=${work#"$ROOT"/}

if ((first > 1)) && [[ -z $faces$photos ]]; then
    [[ ! -s $work/faces.txt ]] || faces=$(<"$work/faces.txt")
    [[ $faces != "$work/faces" || ! -s $work/photos.txt ]] || photos=$(<"$work/photos.txt")
fi
made_up='' extras=deploy
if [[ -n $photos ]]; then
    faces=$work/faces extras=deploy,detect
elif [[ -z $faces || $faces == "$work/faces" ]]; then
    faces=$work/faces made_up=yes
fi

if [[ -z $dry_run ]]; then
    # shellcheck source=recipes/environment.sh
    source recipes/environment.sh
    make_environment "$extras"
    mkdir -p "$work/log"
    printf '%s\n' "$faces" >"$work/faces.txt"
    [[ -z $photos ]] || printf '%s\n' "$photos" >"$work/photos.txt"
    SECONDS=0
fi

stage=0
# stage NAME FILE FIGURE COMMAND...: run an insight command as the next stage. FILE is what it makes;
# FIGURE is a sed expression that extracts the figure for the final table from the command's output.
stage() {
    local name=$1 file=$2 figure=$3 log start
    shift 3
    stage=$((stage + 1))
    ((stage >= first)) || return 0
    printf '\n[%d] %s\n' "$stage" "$name"
    show "$@"
    [[ -z $dry_run ]] || return 0
    time_left
    log=$work/log/$(printf '%02d' "$stage")-$name.log
    start=$(date +%s)
    # -i: on Ctrl-C the command still prints its last lines, so tee must outlive it
    if ! insight "$@" 2>&1 | tee -i "$log"; then
        local status=${PIPESTATUS[0]}
        echo "stage $stage ($name) failed; fix the cause, then: ./recipes/quickstart.sh --output $work --stage $stage" >&2
        exit "$status"
    fi
    figure=$(sed -n "$figure" "$log" | tail -n 1)
    sed -i "/^$stage\t/d" "$work/stages.tsv" 2>/dev/null || true
    printf '%s\t%s\t%s\t%s\t%s\n' "$stage" "$name" "$(($(date +%s) - start))" "$figure" "$file" >>"$work/stages.tsv"
}

have() { # NAME FILE NOTE: a stage that has nothing to do
    stage=$((stage + 1))
    ((stage < first)) || printf '\n[%d] %s\n    %s (%s)\n' "$stage" "$1" "$2" "$3"
}

newest() { # number of the newest checkpoint of a prefix; 1 if there is none
    local last
    last=$(find "$(dirname "$1")" -name "$(basename "$1")-[0-9]*.params" 2>/dev/null | sort -V | tail -n 1 || true)
    last=${last##*-} && last=${last%.params}
    echo $((10#${last:-1}))
}

set_dir=$work/set
softmax=$work/softmax/model
arcface=$work/arcface/model
slim=$work/shipped/model
onnx=$work/shipped/model.onnx
training() { # options of both trainings
    options=(--network y1 --emb-size 128 --per-batch-size "$BATCH_SIZE" --data-dir "$set_dir" --target val
        --wd 0.00004 --fc7-wd-mult 10 --ckpt 2 --seed "$SEED")
    softmax_options=(train-softmax "${options[@]}" --loss-type 0 --fc7-no-bias --prefix "$softmax"
        --max-steps "$SOFTMAX_STEPS" --lr-steps "$((SOFTMAX_STEPS * 4 / 5))")
    arcface_options=(train-softmax "${options[@]}" --loss-type 4 --prefix "$arcface" --max-steps "$ARCFACE_STEPS"
        --lr-steps "$((ARCFACE_STEPS * 3 / 5)),$((ARCFACE_STEPS * 9 / 10))")
}
again=() # a stage that is run again replaces its files
((first == 1)) || again=(--overwrite)
accuracy='s/^\[val\]\[[1-9][0-9]*\]Accuracy-Flip: /accuracy /p'

if [[ -n $made_up ]]; then
    stage data "$faces" 's/^.*: \([0-9]* images of .* people\).*/\1/p' made-up-faces "$faces" --seed "$SEED"
else
    have data "${photos:-$faces}" "yours: only read"
fi
if [[ -n $photos ]]; then
    stage align "$faces" 's/^.*: \([0-9]* faces of .*\) in .*/\1/p' align-faces "$photos" "$faces"
else
    have align "$faces" "aligned already"
fi
stage lists "$work/train.lst" 's/^.*train\.lst: //p' \
    dir2lst "$faces" "$work/train.lst" --val-ratio "$VAL_RATIO" --val-output "$work/val.lst" --min-images 2 --seed "$SEED" \
    "${again[@]}"
stage records "$set_dir/train.rec" 's/^.*: \([0-9]* images + .*\) = .*/\1/p' \
    face2rec "$work/train.lst" --output "$set_dir" "${again[@]}"
stage pairs "$set_dir/val.bin" 's/^.*: \([0-9]* pairs\),.*/\1/p' \
    make-bin "$work/val.lst" "$set_dir/val.bin" --pairs "$PAIRS" --seed "$SEED" "${again[@]}"
training
if ((first <= 6)); then
    choose_training "$work" "${softmax_options[@]}"
else
    chosen_training "$work"
fi
training
stage softmax "$softmax" "$accuracy" "${softmax_options[@]}"
stage arcface "$arcface" "$accuracy" "${arcface_options[@]}" --pretrained "$softmax,$(newest "$softmax")"
stage verification "$work/verification.json" 's/^\[val\]Accuracy-Flip: /accuracy /p' \
    verification --data-dir "$set_dir" --target val --model "$arcface,$(newest "$arcface")" --json "$work/verification.json"
stage slim "$slim-0000.params" 's/^.*: \([0-9.]* MB\) -> .*: \([0-9.]* MB\)$/\1 -> \2/p' \
    model-slim --model "$arcface,$(newest "$arcface")" --output "$slim" "${again[@]}"
stage onnx "$onnx" 's/^parity with MXNet: //p' \
    export-onnx --model "$slim,0" --output "$onnx" --faces "$set_dir/val.bin" "${again[@]}"
stage embed-mxnet "$work/mxnet.npz" 's/^.*: \([0-9]* embeddings of [0-9]*\);.*/\1/p' \
    embed --model "$slim,0" --input "$set_dir/val.bin" --output "$work/mxnet.npz"
stage embed-onnx "$work/onnx.npz" 's/^against .*: \(cosine .*\)/\1/p' \
    embed --model "$onnx" --input "$set_dir/val.bin" --output "$work/onnx.npz" --compare "$work/mxnet.npz"
[[ -z $dry_run ]] || exit 0

before=$(sed -n 's/^\[val\]\[0\]Accuracy-Flip: //p' "$work"/log/*-softmax.log | tail -n 1)
after=$(sed -n 's/^\[val\]Accuracy-Flip: //p' "$work"/log/*-verification.log | tail -n 1)
short=''
[[ $TRAINING != short ]] || short='  the long training    TRAINING=long ./recipes/quickstart.sh'
echo
(printf 'stage\tseconds\tfile\tfigure\n' && awk -F'\t' '{ print $1 " " $2 "\t" $3 "\t" $5 "\t" $4 }' <(sort -n "$work/stages.tsv")) |
    column -t -s $'\t'
cat <<END

Held-out people, accuracy of telling same from different: $before before training (random weights), $after after.

What next
  your own photos      ./recipes/quickstart.sh --photos path/to/photos   (a folder per person)
  your own faces       ./recipes/quickstart.sh path/to/aligned           (112x112, a folder per person)
${short:+$short
}  a longer training    SOFTMAX_STEPS=2000 ARCFACE_STEPS=4000 ./recipes/quickstart.sh path/to/aligned
  run a stage again    ./recipes/quickstart.sh --output $work --stage 7
  use the model        .venv/bin/insight embed --model $onnx --input FOLDER --output faces.npz
  documentation        docs/README.md, and .venv/bin/insight --help
END
