# shellcheck shell=bash
# Horovod for MXNet, built from source once and kept as a wheel. recipes/environment.sh sources this file if the extra
# `distributed` is requested.
#
# The wheels are in INSIGHT_CACHE (~/.cache/insight): one for each Python, build of MXNet, and set of HOROVOD_…
# variables. By default Gloo connects the ranks and sums gradients on the CPU. Set before the first call, for example:
#
#   HOROVOD_GPU_OPERATIONS=NCCL   sum on GPUs; needs a CUDA 11 toolkit and NCCL's headers (HOROVOD_NCCL_HOME)
#   HOROVOD_WITH_MPI=1            MPI as another controller
#
# Compiling takes a minute or two on two cores, and needs g++, make and 1 GB of memory for each core.

PATCHES=2 # of _patch_horovod; counts up with each change of them

# install_horovod PYTHON BUILD: BUILD is MXNet's, which is installed.
install_horovod() {
    local python=$1 build=$2 requirement='horovod>=0.28.1,<0.29' settings folder wheel work status=0
    "$python" -c 'import horovod.mxnet' 2>/dev/null && return
    settings=$(env | LC_ALL=C sort | sed -n '/^HOROVOD_\(WITH\|WITHOUT\|GPU\|CPU\|NCCL\|CUDA\|MPI\|GLOO\)/p')
    folder=${INSIGHT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/insight}/horovod/$(
        "$python" -c 'import sysconfig; print(sysconfig.get_config_var("SOABI"))'
    )-$build-$PATCHES-$(cksum <<<"$settings" | cut -d' ' -f1)
    wheel=$(_horovod_wheel "$folder")
    if [ -z "$wheel" ]; then
        if ! command -v g++ >/dev/null || ! command -v make >/dev/null; then
            echo "error: Horovod is built from source and needs g++ and make; on Debian and Ubuntu:" \
                "apt-get install build-essential" >&2
            return 1
        fi
        echo "building Horovod (once; takes minutes); the log is $folder/build.log" >&2
        mkdir -p "$folder" && work=$(mktemp -d "$folder/work.XXXXXX") || return
        _build_horovod "$python" "$requirement" "$work" >"$folder/build.log" 2>&1 || status=$?
        if [ "$status" = 0 ]; then mv "$work"/wheel/horovod-*.whl "$folder/" || status=$?; fi
        rm -rf "$work"
        ((status == 0)) || { echo "error: Horovod could not be built: $folder/build.log" >&2 && return "$status"; }
        wheel=$(_horovod_wheel "$folder")
    fi
    "$python" -m pip install -qq --disable-pip-version-check --no-input "$wheel"
}

_horovod_wheel() { # the path of the wheel in a folder, if there is one
    find "$1" -maxdepth 1 -name 'horovod-*.whl' 2>/dev/null | sort -V | tail -n 1
}

# _build_horovod PYTHON REQUIREMENT WORK: leaves WORK/wheel/horovod-….whl. The tools are in WORK too, not in .venv.
_build_horovod() {
    local python=$1 requirement=$2 work=$3 jobs
    jobs=-j$(nproc)
    # Newer setuptools lack pkg_resources. CMake 4 needs to be told that Gloo's files are for an older one.
    "$python" -m pip install -q --disable-pip-version-check --no-input --target "$work/tools" \
        'setuptools>=65,<81' wheel || return
    command -v cmake >/dev/null ||
        "$python" -m pip install -q --disable-pip-version-check --no-input --target "$work/tools" 'cmake>=3.13,<4' || return
    # CMake asks Python where MXNet is. MXNet 1.9.1 does not load without np.bool, which NumPy 1.24 removed, and distutils,
    # which Python 3.12 removed.
    mkdir "$work/shim" "$work/tmp" || return
    cat >"$work/shim/sitecustomize.py" <<'END' || return
import sys

if sys.version_info >= (3, 12):
    import setuptools
import numpy

if "bool" not in vars(numpy):
    numpy.bool = numpy.bool_
END
    # Horovod asks for debug information, which costs time and nobody reads.
    printf '#!/bin/sh\nexec "$@" -g0\n' >"$work/compile" && chmod +x "$work/compile" || return
    local settings=(
        HOROVOD_WITH_MXNET=1 HOROVOD_WITHOUT_TENSORFLOW=1 HOROVOD_WITHOUT_PYTORCH=1 "HOROVOD_WITH_GLOO=${HOROVOD_WITH_GLOO:-1}"
        CMAKE_POLICY_VERSION_MINIMUM=3.5 "CMAKE_CXX_COMPILER_LAUNCHER=$work/compile" "MAKEFLAGS=${MAKEFLAGS:-$jobs}"
        "PYTHONPATH=$work/shim:$work/tools" "PATH=${python%/*}:$work/tools/bin:$PATH" "TMPDIR=$work/tmp"
    )
    [ -n "${HOROVOD_WITH_MPI:-}" ] || settings+=(HOROVOD_WITHOUT_MPI=1)
    env "${settings[@]}" "$python" -m pip wheel --disable-pip-version-check --no-input --no-build-isolation --no-deps \
        --no-cache-dir -w "$work/built" "$requirement" || return
    _patch_horovod "$python" "$work"
}

# _patch_horovod PYTHON WORK: WORK/built/horovod-….whl -> WORK/wheel. horovodrun loads horovod.mxnet to see what was built,
# outside of insight, so that it too must bring back what MXNet lacks. And it takes --network of the command behind it for
# an abbreviation of its own options.
_patch_horovod() {
    local python=$1 work=$2 module launch
    PYTHONPATH=$work/tools "$python" -m wheel unpack --dest "$work/unpacked" "$work"/built/horovod-*.whl || return
    module=$(echo "$work"/unpacked/horovod-*/horovod/mxnet/__init__.py)
    cat "$work/shim/sitecustomize.py" "$module" >"$work/patched.py" && mv "$work/patched.py" "$module" || return
    launch=$(echo "$work"/unpacked/horovod-*/horovod/runner/launch.py)
    sed "s/ArgumentParser(description='Horovod Runner')/ArgumentParser(description='Horovod Runner', allow_abbrev=False)/" \
        "$launch" >"$work/patched.py" && mv "$work/patched.py" "$launch" || return
    mkdir "$work/wheel" && PYTHONPATH=$work/tools "$python" -m wheel pack --dest-dir "$work/wheel" "$work"/unpacked/horovod-*
}
