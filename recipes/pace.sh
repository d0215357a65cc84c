# shellcheck shell=bash
# Chooses the training of the quickstart that fits into MINUTES on this machine. Source words.sh first. SECONDS counts
# from the first stage on; dry_run=yes prints the command and measures nothing.
#
#   sizes long|short    sets BATCH_SIZE, SOFTMAX_STEPS, ARCFACE_STEPS; values from the environment are kept
#   choose_training FOLDER COMMAND...
#                       times steps of a train-softmax command; sets TRAINING, the sizes and `ends`, and stores the
#                       sizes in FOLDER
#   chosen_training FOLDER
#                       reads the sizes from FOLDER
#   time_left           prints the time left until `ends`, nothing if that is unknown

given=("${BATCH_SIZE:-}" "${SOFTMAX_STEPS:-}" "${ARCFACE_STEPS:-}")
ends='' # in SECONDS

sizes() {
    local batch softmax arcface
    case $1 in
        long) batch=64 softmax=160 arcface=240 ;;
        short) batch=32 softmax=80 arcface=240 ;;
        *) fail "TRAINING=$1: must be long or short" ;;
    esac
    _take "$batch" "$softmax" "$arcface"
}

_take() { # a batch size and numbers of steps, where the environment gave none
    BATCH_SIZE=${given[0]:-$1} SOFTMAX_STEPS=${given[1]:-$2} ARCFACE_STEPS=${given[2]:-$3}
}

chosen_training() {
    local kept
    [[ -s $1/training.txt ]] || return 0
    read -r -a kept <"$1/training.txt"
    TRAINING=${kept[0]}
    _take "${kept[@]:1}"
}

clock() { # seconds as m:ss
    printf '%d:%02d' $(($1 / 60)) $(($1 % 60))
}

time_left() {
    [[ -n $ends ]] || return 0
    printf '    about %s left\n' "$(clock $((ends > SECONDS ? ends - SECONDS : 0)))"
}

choose_training() {
    local folder=$1 log=$1/log/estimate.log measured busy fewer
    shift
    printf '\ntiming a few steps, to fit the training into %s minutes\n' "$MINUTES"
    show "$@" --estimate
    [[ -z $dry_run ]] || return 0
    measured=$(_measure "$log" "$@") || exit $?
    # Beside other processes, fewer threads can be several times as fast.
    fewer=$(sed -n 's/^note: training gets.*OMP_NUM_THREADS=\([0-9]*\)$/\1/p' "$log")
    if [[ -n $fewer && -z ${OMP_NUM_THREADS:-} ]]; then
        sed -n 's/^note: /    /p' "$log"
        busy=$(OMP_NUM_THREADS=$fewer _measure "$log" "$@") || exit $?
        if _is_faster "${busy% *}" "${measured% *}"; then
            export OMP_NUM_THREADS=$fewer
            measured=$busy
        fi
    fi
    _choose "${measured% *}" "${measured#* }"
    echo "$TRAINING $BATCH_SIZE $SOFTMAX_STEPS $ARCFACE_STEPS" >"$folder/training.txt"
}

# Runs a train-softmax command with --estimate; prints images/s, and the seconds of a verification.
_measure() {
    local log=$1 status=0
    shift
    insight "$@" --estimate >"$log" 2>&1 || status=$?
    if ((status)); then
        tail -n 1 "$log" >&2
        return "$status"
    fi
    awk -v batch="$BATCH_SIZE" '/^estimate: / {
        for (i = 5; i <= NF; i++) if ($i == "verifications") count = $(i - 1)
        print $2, count ? ($(NF - 1) - $4 * batch / $2) / count : 0
    }' "$log"
}

_is_faster() {
    awk -v a="$1" -v b="$2" 'BEGIN { exit !(a > b) }'
}

# Seconds from now to the end, with the current sizes. Besides the steps, the held-out faces are embedded as often
# as in twelve verifications (four in training, one after it, and twice each image of each pair by `embed`), and seven
# processes start and compile their kernels.
_seconds() {
    awk -v images="$((BATCH_SIZE * (SOFTMAX_STEPS + ARCFACE_STEPS)))" -v rate="$1" -v verification="$2" \
        'BEGIN { printf "%d", images / rate + 12 * verification + 5 + 800 / rate }'
}

_choose() { # images/s, seconds of a verification
    local rate=$1 long
    if [[ -z $TRAINING && -z ${given[0]}${given[1]}${given[2]} ]]; then
        sizes long
        TRAINING=long
        long=$((SECONDS + $(_seconds "$@")))
        if ((long > 60 * MINUTES)); then
            TRAINING=short
            echo "    $rate images/s: the long training would finish after $(clock "$long"); the short one is used"
        fi
    fi
    TRAINING=${TRAINING:-long}
    sizes "$TRAINING"
    ends=$((SECONDS + $(_seconds "$@")))
    echo "    $rate images/s: $SOFTMAX_STEPS + $ARCFACE_STEPS steps of $BATCH_SIZE images; finished after about $(clock "$ends")"
}
