# SPDX-License-Identifier: Apache-2.0
# Completion for bash. Commands, options and registries are read from --help, so they are those of the installed program.

# Names of the entries under a heading of `slimpipe ... --help`.
_slimpipe_section() { # HEADING [COMMAND]
    slimpipe ${2:+"$2"} --help 2>/dev/null |
        sed -n "/^$1:/,/^\$/s/^  \([a-z0-9][a-z0-9-]*\)  *[^ ].*/\1/p"
}

_slimpipe_options() { # COMMAND
    slimpipe "$1" --help 2>/dev/null | sed -n 's/^ *\(-., \)\{0,1\}\(--[a-z][a-z-]*\).*/\2/p' | sort -u
}

_slimpipe_presets() { # KIND: in the places where the program looks
    local exe dir
    exe=$(type -P slimpipe)
    for dir in "${SLIMPIPE_PRESETS-}" "${exe%/*}/../share/slimpipe/presets" "${exe%/*}/../../presets"; do
        [ -n "$dir" ] && [ -d "$dir/$1" ] || continue
        (cd "$dir/$1" && printf '%s\n' *.json) | sed 's/\.json$//'
        return
    done
}

_slimpipe() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} words=
    # bash cuts --option=value in three.
    [ "$word" = '=' ] && word=
    [ "$before" = '=' ] && before=${COMP_WORDS[COMP_CWORD - 2]}
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_slimpipe_section Commands) --help --version" -- "$word")
        return
    fi
    case $before in
    --model) words=$(_slimpipe_presets models) ;;
    --cluster) words=$(_slimpipe_presets clusters) ;;
    --profile) words=$(_slimpipe_presets profiles) ;;
    --schedule | --schedules) words=$(_slimpipe_section Schedules "$command") ;;
    --exchange) words=$(_slimpipe_section 'Exchange policies' "$command") ;;
    --recompute) words='none selective full' ;;
    --kv-gradient) words='compact expanded' ;;
    --vocabulary) words='last scatter shard1 shard2 tiled' ;;
    --slice-division) words='equal work terapipe' ;;
    --stage-division) words='equal work' ;;
    --rules) words='links plain sender-blocks' ;;
    --format) [ "$command" = export ] && words='torch torch-comms megatron primus chrome' || words='torch primus' ;;
    --unit-cost)
        words='forward= backward= weight= recompute= overlap= p2p= attention= activation= weight-held= output-forward= output-backward='
        compopt -o nospace ;;
    *) [[ $word == -* ]] && words=$(_slimpipe_options "$command") ;;
    esac
    [ -n "$words" ] && mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
    [ "${#COMPREPLY[@]}" -eq 0 ] && compopt -o default
}

complete -F _slimpipe slimpipe
