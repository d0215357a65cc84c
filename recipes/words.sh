# shellcheck shell=bash
# Output that all recipes share: errors and command lines.

fail() {
    echo "error: $*" >&2
    exit 2
}

show() { # prints a command line, quoted for the shell
    local word
    printf '    insight'
    for word in "$@"; do
        [[ $word =~ ^[[:alnum:]_./,=:+@%-]+$ ]] && printf ' %s' "$word" || printf ' %q' "$word"
    done
    printf '\n'
}
