# shellcheck shell=bash
# Output that all recipes share: errors and command lines.

fail() {
    echo "error: $*" >&2
    exit 2
}

show() { # prints a command line of insight, behind the launcher's words if there are any, quoted for the shell
    local word
    printf '   '
    # shellcheck disable=SC2154  # set by recipes/stage.sh alone
    for word in ${launcher[@]+"${launcher[@]}"} insight "$@"; do
        [[ $word =~ ^[[:alnum:]_./,=:+@%-]+$ ]] && printf ' %s' "$word" || printf ' %q' "$word"
    done
    printf '\n'
}
