# shellcheck shell=bash
# What every recipe says in the same way: an error, and a command.

fail() {
    echo "error: $*" >&2
    exit 2
}

show() { # a command line as one would type it
    local word
    printf '    insight'
    for word in "$@"; do
        [[ $word =~ ^[[:alnum:]_./,=:+@%-]+$ ]] && printf ' %s' "$word" || printf ' %q' "$word"
    done
    printf '\n'
}
