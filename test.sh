#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, then checks everything, step by step; a failed step does not stop the next. The last line counts.
set -u -o pipefail
cd "$(dirname "$0")"
exec 2>&1

passed=0 failed=0 skipped=0

step() { # step NAME COMMAND...
    local start=$SECONDS
    printf '\n== %s ==\n' "$1"
    if "${@:2}"; then
        passed=$((passed + 1))
        printf 'passed, %d s\n' $((SECONDS - start))
    else
        failed=$((failed + 1))
        printf 'FAILED, %d s\n' $((SECONDS - start))
    fi
}

sources() { git ls-files -z --cached --others --exclude-standard -- "$@"; }

check_format() {
    local tool
    tool=$(command -v clang-format-14 || command -v clang-format) || return
    sources '*.c' '*.h' '*.cu' '*.cuh' | xargs -0 -r "$tool" --dry-run --Werror ||
        { echo "to mend: git ls-files '*.c' '*.h' '*.cu' '*.cuh' | xargs ${tool##*/} -i"; return 1; }
}

build() { # build FOLDER COMPILER [MESON OPTION...]
    local folder=$1 compiler=$2 log=$1.log again=
    shift 2
    [ -f "$folder/build.ninja" ] && again=--reconfigure
    CC=$compiler meson setup $again "$folder" -Dwerror=true -Dtests=enabled "$@" >"$log" 2>&1 || { cat "$log"; return 1; }
    rm -f "$log"
    ninja --quiet -C "$folder"
}

run_tests() { # run_tests FOLDER [MESON TEST OPTION...]: also adds the tests one by one to the count
    local folder=$1 status log counts p f s
    shift
    rm -f "$folder"/meson-logs/testlog*.json
    meson test -C "$folder" --no-rebuild --quiet --print-errorlogs "$@"
    status=$?
    for log in "$folder"/meson-logs/testlog*.json; do
        [ -f "$log" ] || continue
        counts=$(scripts/count-tests.py "$log") || return 1
        read -r p f s <<<"$counts"
        echo "tests: $p passed, $f failed, $s skipped"
        passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    done
    return $status
}

build_and_test() {
    build "$@" && run_tests "$1"
}

sanitize() {
    build build-san clang -Dbuildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false &&
        run_tests build-san --setup sanitize
}

check_headers() { # each public header compiles alone, as strict C17
    local header status=0
    for header in include/slimpipe/*.h; do
        [ -f "$header" ] || continue
        printf '#include "slimpipe/%s"\n' "${header##*/}" |
            gcc -std=c17 -Iinclude -Wall -Wextra -Wpedantic -Wstrict-prototypes -Werror -fsyntax-only -x c - ||
            { echo "$header does not compile alone"; status=1; }
    done
    return $status
}

check_files() { # a licence line in each source file, and no big file
    local name status=0
    git ls-files --error-unmatch test.sh >/dev/null || return 1 # git lists nothing of a folder that it does not trust
    while IFS= read -r -d '' name; do
        [ -f "$name" ] || continue
        [ "$(stat -c %s "$name")" -le 1048576 ] || { echo "$name is above 1 MiB"; status=1; }
        case $name in
        *.c | *.h | *.cu | *.cuh | *.py | *.sh | .ci/run | *meson.build | *meson_options.txt)
            head -n 3 "$name" | grep -q 'SPDX-License-Identifier: Apache-2.0\( \*/\)\?$' || { echo "$name has no SPDX line"; status=1; } ;;
        esac
    done < <(sources)
    return $status
}

check_copy() ( # the README's first command in a clean copy of what is tracked (its second is this script)
    [ -f cli/meson.build ] || { echo "no program yet"; exit 0; }
    copy=$(mktemp -d) || exit 1
    trap 'rm -rf "$copy"' EXIT
    tree=$(git -c user.name=test -c user.email=test@localhost stash create) || exit 1
    git archive "${tree:-HEAD}" | tar -x -C "$copy" || exit 1
    cd "$copy" && CI=1 timeout 180 ./run.sh </dev/null || exit 1
    for name in plan.json timeline.svg timeline.json; do
        [ -s "out/$name" ] || { echo "run.sh wrote no out/$name"; exit 1; }
    done
)

step 'packages' ./scripts/install-deps.sh test
step 'format' check_format
step 'files' check_files
step 'folder arrows' scripts/check-arrows.py
step 'headers alone' check_headers
step 'gcc' build_and_test build gcc
step 'symbols' scripts/check-arrows.py build
step 'clang' build build-clang clang
step 'sanitizers' sanitize
step 'clean copy' check_copy

printf '\n%d passed, %d failed' "$passed" "$failed"
[ "$skipped" -eq 0 ] || printf ', %d skipped' "$skipped"
printf '\n'
[ "$failed" -eq 0 ]
