/**
 * What each shell loads: it asks `kappa completions --at`, so that a newer kappa needs no newer script. The first line of the
 * answer says what is to be completed, the others are words with what they mean behind a tab (complete.ts).
 */

const BASH = `# bash completion of kappa; made by: kappa completions bash
_kappa() {
  local answer kind line cur=\${COMP_WORDS[COMP_CWORD]}
  COMPREPLY=()
  answer=$("\${COMP_WORDS[0]/#\\~/$HOME}" completions --at "$COMP_CWORD" -- "\${COMP_WORDS[@]}" 2>/dev/null) || return
  kind=\${answer%%$'\\n'*}
  [[ $cur == = ]] && cur=
  case $kind in
    files | directories | programs)
      local flag=-f
      [[ $kind == directories ]] && flag=-d
      [[ $kind == programs ]] && flag=-c || compopt -o filenames
      while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen $flag -- "$cur")
      ;;
    command\\ *)
      if declare -F _command_offset >/dev/null; then
        _command_offset "\${kind#* }"
      else
        local flag=-f
        ((COMP_CWORD == \${kind#* })) && flag=-c || compopt -o filenames
        while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen $flag -- "$cur")
      fi
      ;;
    words)
      while IFS= read -r line; do
        [[ $line == words ]] || COMPREPLY+=("\${line%%$'\\t'*}")
      done <<<"$answer"
      ;;
  esac
}
complete -F _kappa kappa
`

const ZSH = `#compdef kappa
# zsh completion of kappa; made by: kappa completions zsh
_kappa() {
  local -a lines described
  local line kind
  lines=("\${(@f)$("\${(Q)words[1]/#\\~/$HOME}" completions --at $((CURRENT - 1)) -- "\${words[@]}" 2>/dev/null)}")
  kind=$lines[1]
  case $kind in
    files) _files ;;
    directories) _files -/ ;;
    programs) _command_names -e ;;
    command\\ *)
      local skipped=\${kind#* }
      shift $skipped words
      ((CURRENT -= skipped))
      _normal
      ;;
    words)
      for line in "\${(@)lines[2,-1]}"; do
        described+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
      done
      _describe kappa described
      ;;
  esac
}
if [[ \${funcstack[1]} == _kappa ]]; then
  _kappa "$@"
else
  compdef _kappa kappa
fi
`

const FISH = `# fish completion of kappa; made by: kappa completions fish
function __kappa_complete
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    set -l program (string replace -r '^~' $HOME -- $before[1])
    set -l lines ($program completions --at (count $before) -- $before $current 2>/dev/null)
    switch "$lines[1]"
        case files
            __fish_complete_path $current
        case directories
            __fish_complete_directories $current
        case programs
            __fish_complete_command
        case 'command *'
            set -l skipped (math (string split ' ' $lines[1])[2] + 1)
            set -l line
            test $skipped -le (count $before); and set line (string escape -- $before[$skipped..-1])
            complete -C (string join ' ' -- $line $current)
        case words
            printf '%s\\n' $lines[2..-1]
    end
end
complete -c kappa -f -a '(__kappa_complete)'
`

/** By the shell's name. */
export const SCRIPTS: Record<string, string> = { bash: BASH, zsh: ZSH, fish: FISH }
