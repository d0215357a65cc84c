# shellcheck shell=bash
# Code shared by the stages of recipes/own_faces, which are commands of insight. A stage sources this file and calls, in
# this order:
#
#   begin_stage "$@"        read options and settings (by stage.sh); then the stage sets its defaults
#   step NAME COMMAND…      run a command of insight unless it is done; its output is also in log/NAME.txt
#   end_stage FOUND LEFT_OUT LOOK_AT
#
# A stage writes into its own folder, `here`. In it, steps.txt lists the steps with their commands, so that a
# stopped stage resumes, a finished one is skipped, and one that was run with other settings, or on other results of
# earlier stages, is an error. Such a folder is replaced only with --overwrite.

# shellcheck source=recipes/stage.sh
source "$(dirname "${BASH_SOURCE[0]}")/stage.sh"
# shellcheck source=recipes/inputs.sh
source "$(dirname "${BASH_SOURCE[0]}")/inputs.sh"

FIRST=10_align
overwrite=''
# shellcheck disable=SC2034  # stage.sh reads them
setting_names="MIN_IMAGES HELD_OUT PAIRS PUBLIC TESTS SAME_COSINE TEST_COSINE EPOCHS TRIPLET TEACHER TEACHER_WEIGHT
    NETWORK EMB_SIZE GPUS RANKS HOSTS HOROVODRUN BATCH_SIZE SEED VERBOSE EXTRA LR LR_SCHEDULE LR_STEPS LR_UNIT WARMUP MAX_STEPS
    ALIGN_OPTIONS PACK_OPTIONS CLEAN_OPTIONS MERGE_OPTIONS FINETUNE_OPTIONS TRIPLET_OPTIONS REPORT_OPTIONS INT8_OPTIONS
    BENCHMARK_OPTIONS"
# shellcheck disable=SC2034
own_setting_names=""

_options_help() {
    cat <<'END'

Options
  PHOTOS          folder of a folder of photos per person; only read
  --aligned DIR   aligned faces instead of photos, 112x112, a folder per person
  --pretrained M  prefix,epoch of the checkpoint to start from
  --output DIR    where the stages write, a folder each (runs/own_faces)
  --overwrite     make stages again whose settings, or whose stages before them, have changed
  --env FILE      take settings from FILE, lines like HELD_OUT=0.1; your own settings override it
  --smoke         try it: made-up photos, a few steps, into runs/smoke (SMOKE_DIR/smoke, if that is set)
  --dry-run       print the commands and stop; nothing is installed or written

Settings, by environment or by --env FILE (RECIPE_ENV=FILE is the same)
  MIN_IMAGES      leave out people with fewer faces (3)
  HELD_OUT        share of the people to hold out; models are compared on them (0.2)
  PAIRS           pairs of held-out people at most, as in make-bin
  PUBLIC          a public set to train on too: folder, .rec or prefix
  TESTS           verification sets, F.bin,G.bin, whose people are left out of the training (the .bin files in PUBLIC)
  SAME_COSINE     people of PUBLIC at least so similar to one of yours are left out (0.55)
  TEST_COSINE     likewise people of either set, compared with faces of held-out people and of TESTS (0.5)
  EPOCHS          of fine-tuning (10), unless MAX_STEPS is set
  TRIPLET=no      leave out the stage with triplets
  SEED            of everything that is random (0)
  NETWORK, EMB_SIZE
                  those of the checkpoint (y1, 128)
  BATCH_SIZE, GPUS, RANKS, HOSTS, HOROVODRUN, LR, LR_SCHEDULE, LR_STEPS, LR_UNIT, WARMUP, MAX_STEPS, VERBOSE, TEACHER,
  TEACHER_WEIGHT, EXTRA
                  of both trainings, as in the recipes that train only (./recipes/mobilefacenet/all.sh --help)
  ALIGN_OPTIONS, PACK_OPTIONS, CLEAN_OPTIONS, MERGE_OPTIONS, FINETUNE_OPTIONS, TRIPLET_OPTIONS, REPORT_OPTIONS,
  INT8_OPTIONS, BENCHMARK_OPTIONS
                  further options of align-faces, face2rec and make-bin, dataset-clean, dataset-merge, train-softmax,
                  train-triplet, report, export-onnx --int8, benchmark; space-separated

To resume after a stop, a kill or a failure, run the same command again: what is done is skipped.
END
}

# begin_stage "$@": reads options and settings; sets `work`, `here`, `base`, and the paths of earlier stages' results.
begin_stage() {
    local rest=() given='' started_in=$PWD
    while (($#)); do
        case $1 in
            --aligned) [[ -n ${2:-} ]] || fail "--aligned takes a folder of aligned faces" && export ALIGNED=$2 && shift ;;
            --pretrained) [[ -n ${2:-} ]] || fail "--pretrained takes a checkpoint, prefix,epoch" && export PRETRAINED=$2 && shift ;;
            --output) [[ -n ${2:-} ]] || fail "--output takes a folder" && export MODELS=$2 && shift ;;
            --overwrite) overwrite=yes ;;
            --env) rest+=(--env "${2:-}") && shift $(($# > 1)) ;;
            -h | --help | --smoke | --dry-run) rest+=("$1") ;;
            -*) fail "$1: no such option; see --help" ;;
            *) [[ -z $given ]] || fail "$1: one folder of photos only; see --help" && given=$1 && export PHOTOS=$1 ;;
        esac
        shift
    done
    begin "${rest[@]}"
    work=$MODELS here=$MODELS/$(basename "$script" .sh) steps=$MODELS/$(basename "$script" .sh)/steps.txt ran=''
    [[ -z $smoke ]] || _smoke_settings
    paths_from_root "$started_in"
    : "${TRIPLET:=yes}"
    check_settings
    find_tests
    [[ -n $dry_run || -n $smoke ]] || check_files
    base=$PRETRAINED
    # shellcheck disable=SC2034  # the stages read them
    aligned=${ALIGNED:-$work/10_align/faces} packed=$work/20_pack clean=$work/40_clean/set merged=$work/50_merge/set
    : "${MIN_IMAGES:=3}" "${HELD_OUT:=0.2}" "${NETWORK:=y1}" "${EMB_SIZE:=128}"
    arguments=(${PHOTOS:+"$PHOTOS"} ${ALIGNED:+--aligned "$ALIGNED"} --pretrained "$base" --output "$work")
    [[ -z $smoke ]] || arguments=()
    printf '\n[%s]\n' "$(basename "$here")"
    [[ -z $dry_run ]] || return 0
    make_environment "deploy,detect,plots,ncnn${RANKS:+,distributed}${HOSTS:+,distributed}" || exit 2
    mkdir -p "$here/log"
    _lock
    [[ -z $smoke ]] || _smoke_inputs
    _check_inputs
}

_lock() { # no two runs in one folder: commands that outlive a killed script hold the lock too
    local status=0 taken=9
    command -v flock >/dev/null || return 0
    exec {lock}>"$work/lock"
    flock -w 5 -E $taken "$lock" || status=$? # a killed command with gigabytes takes moments to end; others: no locks here
    ((status != taken)) ||
        fail "$work: another run, or the last command of one that was killed, still works here; wait for it, or stop it"
}

# The first line of steps.txt has a checksum of what the stage before it has done. A stage that takes in what is new has none.
_check_inputs() {
    local before inputs=inputs
    if [[ $(basename "$here") == "$FIRST" ]]; then
        rm -f "$steps" # the command itself knows what is done
    else
        before=$(_stage_before)
        [[ $(tail -n 1 "$work/$before/steps.txt" 2>/dev/null) == end ]] ||
            fail "$work/$before: that stage has not finished; run $(_call "recipes/$recipe/$before.sh")"
        inputs="inputs $(cksum <"$work/$before/steps.txt")"
    fi
    if [[ -s $steps && $(head -n 1 "$steps") != "$inputs" ]]; then _stale "it was made from other results of the stages before it"; fi
    [[ -s $steps ]] || echo "$inputs" >"$steps"
}

_stage_before() {
    local name
    name=$(basename "$(_neighbour -1)" .sh)
    if [[ $name == 70_triplet && $TRIPLET == no ]]; then name=60_finetune; fi
    echo "$name"
}

_stale() { # REASON: with --overwrite, the stage is made again from its first step
    [[ -n $overwrite ]] ||
        fail "$here: $1; --overwrite makes it and the stages behind it again, another --output keeps it"
    rm -rf -- "$here"
    exec {lock}>&-
    exec "recipes/$recipe/$(basename "$script")" "${arguments[@]}" ${smoke:+--smoke} \
        ${RECIPE_ENV:+--env "$RECIPE_ENV"} --overwrite
}

# step NAME COMMAND…: see above. `launcher` are the words in front of `insight`; `made_from`, if a stage sets it, stands for
# the files that its commands read beside the results of the stages before.
step() {
    local name=$1 log=$here/log/$1.txt line status=0 output reader
    shift
    if [[ -n $dry_run ]]; then
        show "$@"
        return
    fi
    line="$name$(printf ' %q' "$@")"
    line=${line// --overwrite/}${made_from:+ from $made_from} # --overwrite does not change the result
    if grep -qxF "done $line" "$steps"; then return 0; fi
    if grep -q "^begun $name " "$steps" && ! grep -qxF "begun $line" "$steps"; then
        _stale "its step $name was started with other settings${made_from:+ or files}"
    fi
    grep -qxF "begun $line" "$steps" || echo "begun $line" >>"$steps"
    ran=yes
    show "$@"
    [[ -n ${PREFIX:-} && -s $PREFIX-resume.npz ]] || : >"$log" # a training goes on, all others begin again
    exec {output}> >(exec tee -ia "$log") # on Ctrl-C the command still prints its last lines
    reader=$!
    supervise ${launcher[@]+"${launcher[@]}"} insight "$@" >&"$output" 2>&1 || status=$?
    exec {output}>&-
    wait "$reader" || true
    if ((status >= 128)) || [[ -n $signalled ]]; then
        echo "stopped; to resume: $(_call "recipes/$recipe/$(basename "$script")")" >&2
    elif ((status)); then
        echo "$(basename "$here") failed; its output is in $log; when the cause is gone: $(_call "recipes/$recipe/$(basename "$script")")" >&2
    fi
    ((status == 0)) || exit "$status"
    echo "done $line" >>"$steps"
}

result() { # TEXT: what the next stage's inputs depend on beside the commands
    [[ -n $dry_run ]] || grep -qxF "result $*" "$steps" || echo "result $*" >>"$steps"
}

joined() { # TEXT…: those that are not empty, with semicolons between them
    local part text=''
    for part in "$@"; do [[ -z $part ]] || text+=${text:+; }$part; done
    echo "$text"
}

lines() { # NAME SED…: lines of a step's output, by expressions for sed -n, joined by semicolons
    local log=$here/log/$1.txt expressions=()
    shift
    [[ -z $dry_run ]] || return 0
    while (($#)); do expressions+=(-e "$1") && shift; done
    sed -n "${expressions[@]}" "$log" | awk 'NR > 1 { printf "; " } { printf "%s", $0 } END { if (NR) print "" }'
}

end_stage() { # FOUND LEFT_OUT LOOK_AT
    local next
    [[ -z $dry_run ]] || return 0
    {
        printf '    found     %s\n' "$1"
        printf '    left out  %s\n' "${2:-nothing}"
        printf '    look at   %s\n' "$3"
    } >"$here/summary.txt"
    [[ $(tail -n 1 "$steps") == end ]] || echo end >>"$steps"
    [[ -n $ran ]] || echo '    done already'
    cat "$here/summary.txt"
    next=$(_neighbour 1)
    if [[ $(basename "$next") == 70_triplet.sh && $TRIPLET == no ]]; then next=recipes/$recipe/80_verify.sh; fi
    [[ -z $next || -n ${STAGES_IN_TURN:-} ]] || echo "    next      $(_call "$next")"
}

accuracies() { # on the held-out people, by the log of this stage's training
    [[ -z $dry_run ]] || return 0
    sed -n 's/.*"target": "own", "step": \([0-9]*\), "accuracy": \([0-9.]*\).*/\2 \1/p' "$PREFIX-log.jsonl" |
        LC_ALL=C awk '{ printf "%s%.5g at step %d", (NR > 1 ? ", " : ""), $1, $2 }'
}

last_model() { # STAGE: prefix,number of the checkpoint that a training stage has ended with
    local prefix=$work/$1/model
    if [[ -n $dry_run ]]; then echo "$prefix,1"; else echo "$prefix,$(<"$prefix-finished.txt")"; fi
}

trained_model() { # the last checkpoint of all trainings
    if [[ $TRIPLET == no ]]; then last_model 60_finetune; else last_model 70_triplet; fi
}

# set_size STAGE STEP: sets `images` and `people` of the set that a step has written, by its report; 0 in a dry run.
set_size() {
    # shellcheck disable=SC2034  # the stages read them
    images=0 people=0
    [[ -z $dry_run ]] || return 0
    # shellcheck disable=SC2034
    read -r images people < <(sed -n 's/^.*: \([0-9]*\) images + \([0-9]*\) identity records.*/\1 \2/p' \
        "$work/$1/log/$2.txt" | tail -n 1) || fail "$work/$1/log/$2.txt: does not say how large the set is"
}

between() { # LOWEST VALUE HIGHEST
    local value=$2
    value=$((value < $1 ? $1 : value))
    echo $((value > $3 ? $3 : value))
}

join() { # words with commas between them
    local IFS=,
    echo "$*"
}

targets() { # WORD…: the words, then the names of the test sets, with commas between them
    local file names=("$@")
    for file in "${tests[@]}"; do names+=("$(basename "$file" .bin)"); done
    join "${names[@]}"
}

_smoke_settings() { # as many as make the stages run on a network that has learned nothing
    PHOTOS=$smoke_dir/photos PRETRAINED=$smoke_dir/mobilefacenet/softmax/model,1 PUBLIC=$smoke_dir/set ALIGNED=''
    TESTS=$smoke_dir/set/val.bin
    : "${HELD_OUT:=0.4}" "${PAIRS:=20}" "${SAME_COSINE:=1}" "${TEST_COSINE:=1}"
    : "${CLEAN_OPTIONS:=--threshold -1 --copy 2 --apart -1}" "${REPORT_OPTIONS:=--bootstrap 20 --hardest 2}"
    : "${INT8_OPTIONS:=--bound -1}"
    : "${BENCHMARK_OPTIONS:=--engine onnxruntime,ncnn --threads 1 --batch 1 --rounds 1 --seconds 0.05}"
}

_smoke_inputs() { # photos, a public set and a checkpoint, made once
    if [[ ! -d $smoke_dir/photos ]]; then
        insight made-up-faces "$smoke_dir/photos" --photos --identities 6 --images 5 >/dev/null || fail "no photos could be made"
    fi
    [[ -s $smoke_dir/mobilefacenet/softmax/model-finished.txt ]] ||
        env -u MODELS -u PREFIX -u PRETRAINED -u DATA_DIR SMOKE_DIR="$(dirname "$smoke_dir")" \
            recipes/mobilefacenet/10_softmax.sh --smoke
}
