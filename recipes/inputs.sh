# shellcheck shell=bash
# Checks the user's inputs of recipes/own_faces: paths, test sets and numbers. recipes/steps.sh sources this file.
# All are checked before the first command, because an error that only a later stage detects would be found after hours.

# paths_from_root FOLDER: makes paths that were given in FOLDER relative to the project's root, where commands run. Those
# of a preset are exported, since a printed command, or a stage that starts over, reads the preset again, in the root.
paths_from_root() {
    local name file listed=() paths=() given
    cd "$1" || exit
    for name in PHOTOS ALIGNED PUBLIC PRETRAINED; do
        [[ -n ${!name:-} ]] || continue
        given=${!name}
        printf -v "$name" %s "$(_from_root "$given")"
        # shellcheck disable=SC2163  # the variable of that name
        [[ -n $smoke || ${!name} == "$given" ]] || export "$name"
    done
    if [[ -n ${TESTS+set} ]]; then
        IFS=, read -ra listed <<<"$TESTS"
        for file in "${listed[@]}"; do
            file=${file#"${file%%[![:space:]]*}"} # without blanks behind a comma
            [[ -z $file ]] || paths+=("$(_from_root "$file")")
        done
        given=$TESTS TESTS=$(join "${paths[@]}")
        [[ -n $smoke || $TESTS == "$given" ]] || export TESTS
    fi
    [[ -z ${TEACHER:-} || $1 == "$ROOT" ]] || export TEACHER # stage.sh has made it so
    cd "$ROOT" || exit
}

check_settings() {
    local name
    [[ -n ${PRETRAINED:-} ]] || fail "--pretrained: name the checkpoint to start from, prefix,epoch"
    [[ $PRETRAINED =~ ,[0-9]+$ ]] || fail "--pretrained $PRETRAINED: want prefix,epoch of a checkpoint"
    [[ -z ${PHOTOS:-} || -z ${ALIGNED:-} ]] || fail "$PHOTOS, --aligned $ALIGNED: give photos or aligned faces, not both"
    [[ -n ${PHOTOS:-}${ALIGNED:-} ]] || fail "PHOTOS: name a folder that holds a folder of photos per person"
    [[ $TRIPLET == yes || $TRIPLET == no ]] || fail "TRIPLET=$TRIPLET: must be yes or no"
    for name in EPOCHS MAX_STEPS VERBOSE; do
        [[ -z ${!name:-} || ${!name} =~ ^[1-9][0-9]*$ ]] || fail "$name=${!name}: must be a whole number, 1 or more"
    done
    [[ $MODELS != *,* ]] || fail "--output $MODELS: has a comma, which separates sets in later commands; take another name"
    [[ ${PUBLIC:-} != *,* ]] || fail "PUBLIC=$PUBLIC: has a comma; one set only: merge others with dataset-merge first"
}

find_tests() { # sets `tests`, an array of .bin files
    local file name names=,
    tests=()
    if [[ -n ${TESTS+set} ]]; then
        IFS=, read -ra tests <<<"$TESTS"
    elif [[ -d ${PUBLIC:-} ]]; then
        for file in "$PUBLIC"/*.bin; do [[ ! -f $file ]] || tests+=("$file"); done
    fi
    for file in "${tests[@]}"; do
        name=$(basename "$file")
        [[ $name == *.bin && $name != own.bin && $name != *,* ]] ||
            fail "TESTS: $file: want files with other names than own.bin, which end in .bin and have no comma"
        [[ $names != *",$name,"* ]] || fail "TESTS: $file: another one is named $name too; rename one of them"
        names+=$name,
    done
}

check_files() {
    local file
    [[ -d ${PHOTOS:-$ALIGNED} ]] || fail "${PHOTOS:-$ALIGNED}: no such folder; give one that holds a folder per person"
    for file in "${tests[@]}"; do [[ -f $file ]] || fail "TESTS: $file: no such file"; done
    [[ -z ${PUBLIC:-} || -e $PUBLIC ]] || compgen -G "$PUBLIC*.rec" >/dev/null ||
        fail "PUBLIC=$PUBLIC: no such folder or .rec; name a public set, or leave it out"
    for file in "${PRETRAINED%,*}-symbol.json" "$(parameters_of "$PRETRAINED")"; do
        [[ -f $file ]] || fail "--pretrained $PRETRAINED: $file: no such file; want prefix,epoch of a checkpoint"
    done
}

parameters_of() { # CHECKPOINT: its file of arrays
    printf '%s-%04d.params\n' "${1%,*}" "$((10#${1##*,}))"
}

state_of() { # PATH…: one word for the sizes and times of sets and .bin files, in folders or by themselves; some may not be there
    { find -L "$@" -maxdepth 1 -type f \( -name '*.rec' -o -name '*.bin' \) -printf '%p %s %T@\n' 2>/dev/null || true; } |
        LC_ALL=C sort | cksum | tr ' ' -
}
