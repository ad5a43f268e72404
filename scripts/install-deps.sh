#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, and only that: install-deps.sh run (to build and use slimpipe) or install-deps.sh test (also to check it).
# Each need is probed by use, so nothing is fetched, and any system will do, when all is there already.
set -eu

purpose=${1:-run}
missing=

need() { # need PACKAGE COMMAND...: the command succeeds when the package is there
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}

has() { command -v "$1"; }
compiles() { printf '%s\nint main(void) { return 0; }\n' "$1" | "${@:2}" -x c - -o /dev/null; }
criterion() { pkg-config --atleast-version=2.4.1 criterion; }
clang_format() { has clang-format-14 || clang-format --version | grep -q 'version 14\.'; }

# The library of clang's sanitizers is named after clang's version, and differently in older releases.
clang_runtime() {
    local version
    version=$(clang -dumpversion 2>/dev/null | cut -d. -f1)
    if [ -n "$version" ] && ! apt-cache show "libclang-rt-$version-dev" >/dev/null 2>&1; then
        echo "libclang-common-$version-dev"
    else
        echo "libclang-rt-${version:-14}-dev"
    fi
}

probe() {
    missing=
    need gcc has gcc
    need libc6-dev compiles '#include <stdio.h>' gcc
    need meson has meson
    need ninja-build has ninja
    need pkg-config has pkg-config
    need libglpk-dev compiles '#include <glpk.h>' gcc -lglpk
    need libcjson-dev pkg-config --exists libcjson
    [ "$purpose" = test ] || return 0
    need git has git
    need python3 has python3
    need libcriterion-dev criterion
    need clang has clang
    need "$(clang_runtime)" compiles '' clang -fsanitize=address,undefined
    need clang-format-14 clang_format
    need valgrind has valgrind
}

by_hand() {
    {
        echo "install-deps.sh: $1"
        echo "Install these, or what your system calls them, and try again:"
        printf '    %s\n' $missing
    } >&2
    exit 1
}

install_missing() {
    local root=
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || by_hand "this needs root, and sudo is not there"
        root=sudo
    fi
    echo "Installing:$missing"
    local log
    log=$(mktemp)
    if ! { $root apt-get -qq update &&
        $root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        by_hand "apt-get failed"
    fi
    rm -f "$log"
}

probe
[ -n "$missing" ] || exit 0
case " $(. /etc/os-release 2>/dev/null && echo "${ID:-} ${ID_LIKE:-}") " in
*' debian '* | *' ubuntu '*) ;;
*) by_hand "only Debian and Ubuntu are known here" ;;
esac
install_missing
probe
if [ -n "$missing" ]; then # a package named after another's version is known only now
    install_missing
    probe
fi
[ -z "$missing" ] || by_hand "still missing after the installation"
