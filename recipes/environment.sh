# shellcheck shell=bash
# The project's Python environment: .venv in its root. Source this file, then:
#
#   make_environment deploy,test     # extras of setup.py; MXNet's build is added; `distributed` builds Horovod,
#                                    # and `ncnn` leaves out PyTorch, gigabytes that its part in export-ncnn does not use
#
# It finds a suitable Python, installs once, and puts .venv/bin first in PATH. All callers share one .venv; a call with
# more extras adds them. A stamp file records a finished installation, so that the next call returns at once. It is
# installed again if setup.py changes, or if the installation was killed and has no stamp.
#
# INSIGHT_PYTHON=PATH chooses the Python of a new .venv; unset, the first of 3.11, 3.10, 3.12, 3.9 that works.
# INSIGHT_MXNET=cpu or cu112 chooses MXNet's build; unset, cu112 if nvidia-smi lists a GPU that it has code for.

project_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=recipes/horovod.sh
source "$project_root/recipes/horovod.sh"

# Prints the path of a Python 3.9 to 3.12 that can make environments. Each is tried by running it: PATH may have pyenv
# shims of versions that are not active, and Debian's python3 comes without ensurepip.
find_python() {
    local candidate
    local check='import sys, venv, ensurepip; assert (3, 9) <= sys.version_info[:2] < (3, 13); print(sys.executable)'
    if [ -n "${INSIGHT_PYTHON:-}" ]; then
        "$INSIGHT_PYTHON" -c "$check" 2>/dev/null && return
        echo "error: INSIGHT_PYTHON=$INSIGHT_PYTHON: is not a Python 3.9 to 3.12 with venv" >&2
        return 1
    fi
    for candidate in python3.11 python3.10 python3.12 python3.9 python3; do
        "$candidate" -c "$check" 2>/dev/null && return
    done
    echo "error: no Python 3.9 to 3.12 with venv; on Debian and Ubuntu: apt-get install python3 python3-venv" >&2
    return 1
}

# Prints cpu or cu112.
mxnet_build() {
    local query="nvidia-smi --query-gpu=compute_cap --format=csv,noheader"
    case ${INSIGHT_MXNET:-} in
        cpu | cu112) echo "$INSIGHT_MXNET" ;;
        "")
            # shellcheck disable=SC2086  # the query's words
            if timeout 30 $query 2>/dev/null | awk '$1 + 0 >= 5 && $1 + 0 < 9 { fits = 1 } END { exit !fits }'; then
                echo cu112
            else
                echo cpu
            fi
            ;;
        *)
            echo "error: INSIGHT_MXNET=$INSIGHT_MXNET: must be cpu or cu112" >&2
            return 1
            ;;
    esac
}

# make_environment EXTRAS: see above. One call at a time: while one installs, there is no stamp, and another would take the
# environment for an unfinished one and remove it.
make_environment() {
    local lock='' status=0
    if command -v flock >/dev/null; then
        exec {lock}<"$project_root/recipes/environment.sh" && flock "$lock" || true # a file system may have no locks
    fi
    _make_environment "$1" || status=$?
    [ -z "$lock" ] || exec {lock}<&-
    [ "$status" = 0 ] || return "$status"
    export PATH="$project_root/.venv/bin:$PATH"
    hash -r
}

_make_environment() { # EXTRAS
    local venv=$project_root/.venv
    local stamp=$venv/insight-installed # lines: project root, checksum of setup.py, MXNet's build, extras
    local had_build build extras now
    had_build=$(sed -n 3p "$stamp" 2>/dev/null) || had_build=""
    build=$had_build
    if [ -n "${INSIGHT_MXNET:-}" ] || [ -z "$build" ]; then
        build=$(mxnet_build) || return
    fi
    extras=$({ sed -n 4p "$stamp" 2>/dev/null && echo; echo "$1"; } | tr ',' '\n' | sed '/^$/d' | sort -u | paste -sd, -)
    now=$(printf '%s\n' "$project_root" "$(cksum <"$project_root/setup.py")" "$build" "$extras")
    if [ "$now" != "$(cat "$stamp" 2>/dev/null)" ] || ! "$venv/bin/python" -c '' 2>/dev/null ||
        { [[ ,$extras, == *,distributed,* ]] && ! [ -x "$venv/bin/horovodrun" ]; }; then # uninstalled, to build another
        echo "installing into .venv: $build,$extras (once; takes minutes)" >&2
        _prepare_venv "$venv" "$stamp" || return
        if [ -n "$had_build" ] && [ "$had_build" != "$build" ]; then # both builds own the folder mxnet/
            "$venv/bin/python" -m pip uninstall -qq -y mxnet mxnet-cu112 || return
        fi
        if [[ ,$extras, == *,distributed,* ]]; then # it is built against MXNet, which must be there
            _install_project "$venv" "$build" && install_horovod "$venv/bin/python" "$build" || return
        fi
        if [[ ,$extras, == *,ncnn,* ]]; then
            "$venv/bin/python" -m pip install -qq --disable-pip-version-check --no-input --no-deps "pnnx>=20261020" || return
        fi
        _install_project "$venv" "$build,$(tr ',' '\n' <<<"$extras" | sed '/^ncnn$/d' | paste -sd, -)" || return
        printf '%s\n' "$now" >"$stamp.partial" && mv "$stamp.partial" "$stamp" || return
    fi
}

_install_project() { # the checkout with these extras
    "$1/bin/python" -m pip install -qq --disable-pip-version-check --no-input -e "${project_root}[$2]"
}

# Prepares a .venv for an installation and removes its stamp. A .venv made by this file is made again if it was never
# finished, was moved, or lost its Python; a .venv of another origin is used unchanged.
_prepare_venv() {
    local venv=$1 stamp=$2 python
    if [ -f "$venv/made-by-insight" ]; then
        if [ "$(sed -n 1p "$stamp" 2>/dev/null)" != "$project_root" ] || ! "$venv/bin/python" -c '' 2>/dev/null; then
            rm -rf "$venv"
        fi
    fi
    rm -f "$stamp"
    if [ ! -d "$venv" ]; then
        python=$(find_python) || return
        mkdir "$venv" && touch "$venv/made-by-insight" && "$python" -m venv "$venv"
    fi
}
