# shellcheck shell=bash
# Code shared by the numbered stages of a recipe. A stage sources this file and calls, in this order:
#
#   begin "$@"                        options, preset and environment; then the stage sets its defaults
#   length "120000 160000" 200000     where the rate falls and where the run ends, in steps of 512 images
#   train --loss-type 4 …             train, or resume a stopped training; or begin_triplet, train_triplet
#
# The stages of a folder run in the order of their numbers: 20_arcface.sh starts from the checkpoint of 10_softmax.sh.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=recipes/environment.sh
source "$ROOT/recipes/environment.sh"
# shellcheck source=recipes/words.sh
source "$ROOT/recipes/words.sh"

_usage() { # the head of the script that is run, then the text common to all
    sed -n '2,/^set -euo/p' "$0" | sed '/^set -euo/d; s/^# \{0,1\}//'
    _options_help
}

_options_help() {
    cat <<'END'

Options
  --env FILE   take settings from FILE, lines like BATCH_SIZE=64; your own settings override it
  --smoke      try it: a few steps on made-up faces, into runs/smoke (SMOKE_DIR/smoke, if that is set)
  --dry-run    print the command and stop; nothing is installed or written
  All other arguments are passed to `insight train-softmax` (train-triplet) unchanged, after the recipe's own options.

Settings, by environment or by --env FILE (RECIPE_ENV=FILE is the same)
  DATA_DIR     folder of the training set and the verification sets; also the first argument
  MODELS       where the stages write: MODELS/STAGE/model-0001.params (runs/RECIPE)
  PREFIX       this stage's checkpoints, if not there
  PRETRAINED   prefix,epoch to start from, if not the last checkpoint of the previous stage
  GPUS         their numbers, like 0,1; empty: the CPU (CUDA_VISIBLE_DEVICES; else all GPUs)
  RANKS        train as so many processes of this machine, by Horovod; they share the GPUs, or the cores
  HOSTS        train on several machines: HOSTS=host1:2,host2:2 starts 2 processes on each (docs/distributed.md)
  HOROVODRUN   further options of horovodrun, space-separated: --network-interfaces eth0, --ssh-port 2222
  BATCH_SIZE   images a step over all devices of all machines (512; triplets 150); lengths are in images, for any batch
  NETWORK, EMB_SIZE, TARGET, SEED, VERBOSE, CKPT, LR, LR_SCHEDULE, WARMUP, MAX_STEPS, END_EPOCH
               as the options of train-softmax
  LR_STEPS     in steps, unless LR_UNIT says epochs or samples; WARMUP is counted in the same unit
  TEACHER      learn from this network too: prefix,epoch, a model file, or an .npz of its embeddings (docs/distill.md);
               they are computed once, into MODELS/teacher.npz
  TEACHER_WEIGHT
               as the option of train-softmax
  EXTRA        further options, space-separated
  TRIPLET=yes  all.sh runs the triplet stage too, which does not help every network (docs/triplet.md)

A stage that was stopped resumes when it is started again; a finished one is skipped with a message.
END
}

# Settings that a printed command repeats: those of all stages, and those of one.
setting_names="DATA_DIR MODELS GPUS RANKS HOSTS HOROVODRUN BATCH_SIZE NETWORK EMB_SIZE TARGET SEED VERBOSE CKPT EXTRA TEACHER TEACHER_WEIGHT"
own_setting_names="PREFIX PRETRAINED LR LR_SCHEDULE LR_STEPS LR_UNIT WARMUP MAX_STEPS END_EPOCH"

# begin "$@": reads options and settings. The user's environment overrides --smoke, which overrides the preset.
begin() {
    script=$0
    recipe=$(basename "$(cd "$(dirname "$script")" && pwd)")
    stage=$(_stage_of "$script")
    dry_run='' smoke='' extra=()
    local preset=${RECIPE_ENV:-} set_by_user
    if (($#)) && [[ $1 != -* ]]; then
        DATA_DIR=$1 && export DATA_DIR
        shift
    fi
    while (($#)); do
        case $1 in
            -h | --help) _usage && exit 0 ;;
            --env) [[ -n ${2:-} ]] || fail "--env takes a file" && preset=$2 && shift ;;
            --smoke) smoke=yes ;;
            --dry-run) dry_run=yes ;;
            *) extra+=("$1") ;;
        esac
        shift
    done
    arguments=("${extra[@]}") # that a printed command repeats
    set_by_user=$(set -o posix && export -p) # as `export NAME=value`
    if [[ -n $preset ]]; then
        [[ -f $preset ]] || fail "--env $preset: no such file"
        preset=$(_absolute "$preset") # source looks up a bare name in PATH
        # shellcheck source=/dev/null
        source "$preset"
    fi
    if [[ -n $smoke ]]; then
        smoke_dir=$(_absolute "${SMOKE_DIR:-$ROOT/runs}")/smoke
        # shellcheck disable=SC2034  # train reads them by name
        TARGET=val WARMUP='' VERBOSE=4 LR=0.01
        DATA_DIR=$smoke_dir/set MODELS=$smoke_dir/$recipe BATCH_SIZE=8 MAX_STEPS=4 GPUS=''
    fi
    eval "$set_by_user"
    RECIPE_ENV=${preset:+$(_from_root "$preset")}
    [[ -z ${DATA_DIR:-} ]] || DATA_DIR=$(_from_root "$DATA_DIR")
    MODELS=$(_from_root "${MODELS:-$ROOT/runs/$recipe}")
    [[ -z ${PREFIX:-} ]] || PREFIX=$(_from_root "$PREFIX")
    [[ -z ${TEACHER:-} ]] || TEACHER=$(_from_root "$TEACHER")
    : "${BATCH_SIZE:=${default_batch:-512}}" "${SEED:=0}" "${CKPT:=${default_ckpt:-2}}"
    [[ $BATCH_SIZE =~ ^[1-9][0-9]*$ ]] || fail "BATCH_SIZE=$BATCH_SIZE: must be a whole number, 1 or more"
    cd "$ROOT" || exit
}

_stage_of() { # 10_softmax.sh -> softmax
    local name
    name=$(basename "$1" .sh)
    echo "${name#*_}"
}

_absolute() { if [[ $1 = /* ]]; then echo "$1"; else echo "$PWD/$1"; fi; }

_from_root() { # a path relative to the project's root, where the commands run
    local path
    path=$(_absolute "$1")
    echo "${path#"$ROOT"/}"
}

# length "FALLS" END: the schedule, in steps of 512 images. It is converted to images, so it holds for any batch.
length() {
    local falls=() fall
    : "${LR_SCHEDULE:=step}"
    if [[ $LR_SCHEDULE == step && -z ${LR_STEPS:-} ]]; then
        [[ -z ${LR_UNIT:-} ]] || fail "LR_UNIT=$LR_UNIT: is the unit of LR_STEPS; set them together"
        for fall in $1; do falls+=("$((fall * 512))"); done
        LR_STEPS=$(IFS=, && echo "${falls[*]}")
        LR_UNIT=samples
        if [[ -z ${MAX_STEPS:-} ]]; then
            MAX_STEPS=$(($2 * 512 / BATCH_SIZE))
            ((BATCH_SIZE == 512)) || echo "the recipe's $2 steps of 512 images are $MAX_STEPS steps of $BATCH_SIZE"
        fi
    elif [[ $LR_SCHEDULE != step && -z ${END_EPOCH:-} ]]; then
        MAX_STEPS=${MAX_STEPS:-$(($2 * 512 / BATCH_SIZE))}
    fi
    : "${VERBOSE:=$(((2000 * 512 + BATCH_SIZE - 1) / BATCH_SIZE))}"
}

# Sets the value of --devices. Other GPUs are hidden, so the visible ones are numbered 0, 1, …
_choose_devices() {
    local gpus numbers
    if [[ -n ${GPUS+set} ]]; then
        gpus=$GPUS
    elif [[ -n ${CUDA_VISIBLE_DEVICES+set} ]]; then
        gpus=$CUDA_VISIBLE_DEVICES
    elif [[ $(mxnet_build) == cu112 ]]; then
        gpus=$(nvidia-smi --query-gpu=index --format=csv,noheader | paste -sd, -)
    else
        gpus=''
    fi
    devices=cpu device_count=1
    if [[ -n $gpus && $gpus != -1 ]]; then
        IFS=, read -ra numbers <<<"$gpus"
        device_count=${#numbers[@]}
        devices=$(seq -s, 0 "$((device_count - 1))")
        export CUDA_VISIBLE_DEVICES=$gpus
    fi
    _choose_ranks
    ((BATCH_SIZE % device_count == 0)) ||
        fail "BATCH_SIZE=$BATCH_SIZE: must be a multiple of the $device_count devices (GPUS=$gpus)"
}

# Sets the words in front of `insight`, and counts the devices of all machines: each has the GPUs that this one has.
_choose_ranks() {
    local host ranks=0 machines=0 slots
    launcher=()
    if [[ -n ${RANKS:-} ]]; then
        [[ $RANKS =~ ^[1-9][0-9]*$ ]] || fail "RANKS=$RANKS: must be a whole number, 1 or more"
        [[ -z ${HOSTS:-} ]] || fail "RANKS=$RANKS: counts the processes of this machine; leave it out with HOSTS=$HOSTS"
    fi
    local hosts=${HOSTS:-${RANKS:+localhost:$RANKS}}
    [[ -n $hosts ]] || return 0
    [[ $hosts =~ ^[^:,]+:[1-9][0-9]*(,[^:,]+:[1-9][0-9]*)*$ ]] || fail "HOSTS=$hosts: must be like host1:2,host2:2"
    for host in ${hosts//,/ }; do
        slots=${host##*:} machines=$((machines + 1)) ranks=$((ranks + slots))
        [[ $devices == cpu ]] || ((device_count % slots == 0)) ||
            fail "HOSTS=$hosts: $slots processes of a machine cannot share its $device_count GPUs equally"
    done
    if [[ $devices == cpu ]]; then device_count=$ranks; else device_count=$((machines * device_count)); fi
    # One process needs no Horovod.
    ((ranks > 1 || machines > 1)) || [[ -n ${HOSTS:-} ]] || return 0
    # shellcheck disable=SC2206  # the options' words
    launcher=(horovodrun -np "$ranks" -H "$hosts" ${HOROVODRUN:-})
    # horovodrun gives other machines the whole environment but for this
    [[ $devices == cpu || -z ${HOSTS:-} ]] || launcher+=(env "CUDA_VISIBLE_DEVICES=$CUDA_VISIBLE_DEVICES")
}

# The checkpoint to start from: PRETRAINED, or the last one of the previous stage, which must have finished.
_choose_pretrained() {
    local before prefix
    [[ -z ${PRETRAINED:-} ]] || return 0
    before=$(_neighbour -1)
    [[ -n $before ]] || return 0
    prefix=$MODELS/$(_stage_of "$before")/model
    if [[ -n $smoke && -z $dry_run && ! -s $prefix-finished.txt ]]; then
        SMOKE_DIR=$(dirname "$smoke_dir") "$before" --smoke
    fi
    if [[ -s $prefix-finished.txt ]]; then
        PRETRAINED=$prefix,$(<"$prefix-finished.txt")
    elif [[ -n $dry_run ]]; then
        PRETRAINED=$prefix,LAST
    else
        fail "$prefix: that stage has not finished; run $(_call "$before"), or name a PRETRAINED=prefix,epoch"
    fi
}

_neighbour() { # the previous ($1 = -1) or next ($1 = 1) stage script, if there is one
    local scripts=("recipes/$recipe"/[0-9]*.sh) index
    for index in "${!scripts[@]}"; do
        if [[ $(basename "${scripts[index]}") == "$(basename "$script")" ]]; then
            index=$((index + $1))
            ((index < 0)) || echo "${scripts[index]:-}"
        fi
    done
}

# _call SCRIPT: the command line for a stage, with the settings of this one. Settings of this stage only are not passed on.
_call() {
    local name names="$setting_names RECIPE_ENV SMOKE_DIR"
    if [[ $(basename "$1") == "$(basename "$script")" ]]; then
        names+=" $own_setting_names"
    fi
    for name in $names; do
        if printenv "$name" >/dev/null; then printf '%s=%q ' "$name" "${!name}"; fi
    done
    printf './%s%s' "$1" "${smoke:+ --smoke}"
    [[ -z $RECIPE_ENV ]] || printenv RECIPE_ENV >/dev/null || printf ' --env %q' "$RECIPE_ENV"
    ((!${#arguments[@]})) || printf ' %q' "${arguments[@]}"
}

# train OPTIONS…: runs the training of this stage with its own options.
train() { _train train-softmax "$@"; }

# begin_triplet "$@", train_triplet OPTIONS…: the same with triplets, by InsightFace's recipe: 30,000 steps of 150 images at
# a constant rate of 0.005, without momentum. The best checkpoint is kept, which may be the one it started from.
begin_triplet() {
    default_batch=150 default_ckpt=3
    begin "$@"
    : "${LR:=0.005}"
    [[ -n ${END_EPOCH:-} ]] || : "${MAX_STEPS:=$((30000 * 150 / BATCH_SIZE))}"
}
train_triplet() { _train train-triplet --mom 0 "$@"; }

# training COMMAND OPTIONS…: sets `command`, the words behind `insight`, `launcher`, those in front of it, and PREFIX.
training() {
    local flag name
    if [[ -z $dry_run ]]; then
        [[ -n ${DATA_DIR:-} ]] ||
            fail "DATA_DIR is unset: name the folder that face2rec wrote, or try the recipe on made-up faces by --smoke"
        [[ -n $smoke || -d $DATA_DIR ]] || fail "DATA_DIR=$DATA_DIR: no such folder; name the one that face2rec wrote"
    fi
    _choose_devices
    _choose_pretrained
    PREFIX=${PREFIX:-$MODELS/$stage/model}
    command=("$1" --data-dir "${DATA_DIR:-DATA_DIR}" --prefix "$PREFIX" --resume "${@:2}" --devices "$devices"
        --per-batch-size "$((BATCH_SIZE / device_count))")
    for name in NETWORK EMB_SIZE PRETRAINED LR LR_SCHEDULE LR_UNIT LR_STEPS WARMUP MAX_STEPS END_EPOCH VERBOSE \
        CKPT SEED TEACHER TEACHER_WEIGHT; do
        flag=--${name,,}
        [[ -z ${!name:-} ]] || command+=("${flag//_/-}" "${!name}")
    done
    # all stages share the file; a trial has its own, which the next one removes
    [[ -z ${TEACHER:-} || ${TEACHER,,} == *.npz || -n $smoke || " ${EXTRA:-} ${extra[*]} " == *" --teacher-live "* ]] ||
        command+=(--teacher-file "$MODELS/teacher.npz")
    [[ -z ${TARGET+set} ]] || command+=(--target "$TARGET") # empty: nothing to verify on
    # shellcheck disable=SC2206  # EXTRA's words
    command+=(${EXTRA:-} "${extra[@]}")
}

_train() {
    local command status=0
    training "$@"
    if [[ -n $dry_run ]]; then
        show "${command[@]}"
        return
    fi
    make_environment "deploy${launcher[*]:+,distributed}" || exit 2
    if [[ -n $smoke ]]; then
        _smoke_set
        # remove the files of the last trial, since a finished run would take no step; only inside the folder of trials
        [[ $ROOT/$PREFIX != "$smoke_dir"/* && $PREFIX != "$smoke_dir"/* ]] || rm -rf -- "$PREFIX"-*
    fi
    printf '%s, %s: %s images a step on %s\n' "$recipe" "$stage" "$BATCH_SIZE" "$devices"
    show "${command[@]}"
    rm -f "$PREFIX-finished.txt"
    supervise "${launcher[@]}" insight "${command[@]}" || status=$?
    if ((status >= 128)) || [[ -n $signalled ]]; then
        echo "stopped; to resume: $(_call "recipes/$recipe/$(basename "$script")")" >&2
    fi
    ((status == 0)) || exit "$status"
    record_last
    _print_next
}

# supervise COMMAND…: run it and wait. Without this, a signal to the script alone would leave the training behind
# as an orphan, and a second start would write to the same files. The child has its own process group (set -m),
# since a plain background job would not receive Ctrl-C.
supervise() {
    local child='' status
    signalled=''
    trap '_pass_on INT' INT
    trap '_pass_on TERM' TERM HUP
    set -m
    "$@" &
    child=$!
    set +m
    [[ -z $signalled ]] || _pass_on "$signalled" # it came before the child was known
    while :; do # a trapped signal interrupts wait, not the child
        status=0 && wait "$child" || status=$?
        kill -0 "$child" 2>/dev/null || break
    done
    trap - INT TERM HUP
    return "$status"
}

_pass_on() { # a signal to the child of supervise
    signalled=$1
    [[ -z $child ]] || kill "-$1" "$child" 2>/dev/null || true
}

record_last() { # sets `last`, the number of the last checkpoint of PREFIX, and records it for the next stage
    last=$(find "$(dirname "$PREFIX")" -maxdepth 1 -name "$(basename "$PREFIX")-[0-9]*.params" | sort -V | tail -n 1)
    [[ -n $last ]] || fail "$PREFIX: no checkpoint was saved (CKPT=$CKPT), so the next stage cannot start; set CKPT to 1, 2 or 3"
    last=${last##*-} && last=$((10#${last%.params}))
    # of triplets the best one, which CKPT=3 saves as number 1: later ones may be worse than the one it started from
    if _optional "$script" && ((CKPT == 3)); then last=1; fi
    { echo "$last" >"$PREFIX-finished.txt.partial" && mv "$PREFIX-finished.txt.partial" "$PREFIX-finished.txt"; } ||
        fail "$PREFIX-finished.txt: could not be written"
}

_print_next() {
    local next
    next=$(_neighbour 1)
    echo "done: $PREFIX,$last"
    if [[ -z $next ]] || _optional "$next"; then
        echo "next: .venv/bin/insight model-slim --model $PREFIX,$last --output $MODELS/shipped/model"
    fi
    [[ -n $next ]] || return 0
    next="$([[ $PREFIX == "$MODELS/$stage/model" ]] || echo "PRETRAINED=$PREFIX,$last ")$(_call "$next")"
    if _optional "$(_neighbour 1)"; then echo "or: $next (docs/triplet.md says when)"; else echo "next: $next"; fi
}

_optional() { [[ $(_stage_of "$1") == triplet ]]; } # a stage that all.sh runs only when it is asked to

_smoke_set() { # made-up faces, packed once for all trials
    [[ ! -s $smoke_dir/set/property ]] || return 0
    local work=$smoke_dir/faces.$$
    mkdir -p "$work"
    {
        insight made-up-faces "$work/faces" --identities 8 --images 6 &&
            insight dir2lst "$work/faces" "$work/train.lst" --val-ratio 0.25 --val-output "$work/val.lst" &&
            insight face2rec "$work/train.lst" --output "$work/set" &&
            insight make-bin "$work/val.lst" "$work/set/val.bin" --pairs 20
    } >"$work/log" || fail "the made-up faces could not be packed; see $work/log"
    mv -T "$work/set" "$smoke_dir/set" 2>/dev/null || [[ -s $smoke_dir/set/property ]]
    rm -rf "$work"
}

# run_all "$@": all stages of the recipe in turn, optional ones if TRIPLET is set. Finished stages are skipped with a message.
run_all() {
    local name argument
    for argument in "$@"; do
        [[ $argument != -h && $argument != --help ]] || { _usage && exit 0; }
    done
    for name in PREFIX PRETRAINED; do
        [[ -z ${!name:-} ]] || fail "$name=${!name}: belongs to one stage; run the stages one by one, or set MODELS"
    done
    run_stages "${TRIPLET:-}" "$@"
}

run_stages() { # the stages in turn; optional ones if the first word is not empty
    local next optional=$1
    shift
    for next in "$(cd "$(dirname "$0")" && pwd)"/[0-9]*.sh; do
        if _optional "$next" && [[ -z $optional ]]; then continue; fi
        supervise "$next" "$@" || exit
    done
}
