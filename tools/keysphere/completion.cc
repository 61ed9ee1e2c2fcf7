#include "tools/keysphere/completion.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace keysphere::cli {
namespace {

// Inside single quotes of a shell.
std::string Quoted(const std::string& text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}
// Inside single quotes of fish, where a backslash counts.
std::string FishQuoted(const std::string& text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"'", "\\'"}}), "'");
}

// What may follow a command: its own words, and those of the root that every command takes.
std::vector<std::string> WordsOf(const CommandInfo& command, const CommandInfo& root) {
  std::vector<std::string> words = command.subcommands;
  for (const CommandInfo* info : {&command, &root}) {
    for (const CommandInfo::Option& option : info->options) {
      words.insert(words.end(), option.names.begin(), option.names.end());
    }
    if (command.name.empty()) break;
  }
  return words;
}

// "case" lines for options with fixed values, and for those whose value is not known.
std::string ValueCases(const std::vector<CommandInfo>& commands) {
  std::string cases;
  std::vector<std::string> others;
  std::vector<std::string> seen;
  for (const CommandInfo& command : commands) {
    for (const CommandInfo::Option& option : command.options) {
      if (!option.takes_value) continue;
      std::vector<std::string> fresh;
      for (const std::string& name : option.names) {
        if (std::find(seen.begin(), seen.end(), name) == seen.end()) fresh.push_back(name);
      }
      if (fresh.empty()) continue;
      seen.insert(seen.end(), fresh.begin(), fresh.end());
      const std::string names = absl::StrJoin(fresh, "|");
      if (option.choices.empty()) {
        others.push_back(names);
      } else {
        absl::StrAppend(&cases, "    ", names,
                        ") values=", Quoted(absl::StrJoin(option.choices, " ")), " ;;\n");
      }
    }
  }
  absl::StrAppend(&cases, "    ", absl::StrJoin(others, "|"), ") files=1 ;;\n");
  return cases;
}

std::string WordCases(const std::vector<CommandInfo>& commands) {
  std::string cases;
  for (const CommandInfo& command : commands) {
    absl::StrAppend(&cases, "    ", Quoted(command.name),
                    ") words=", Quoted(absl::StrJoin(WordsOf(command, commands[0]), " ")), " ;;\n");
  }
  return cases;
}

// Every command that has others below it: what leads on from one word to the next.
std::string GroupPattern(const std::vector<CommandInfo>& commands) {
  std::vector<std::string> names;
  for (const CommandInfo& command : commands) {
    if (!command.name.empty()) names.push_back(Quoted(command.name));
  }
  return absl::StrJoin(names, "|");
}

// bash and zsh: inside the loop over the words, and behind it.
std::string Lookup(const std::vector<CommandInfo>& commands) {
  return absl::StrCat(R"(    next=${command:+$command }$word
    case $next in
    )",
                      GroupPattern(commands), R"() command=$next ;;
    esac
  done
  case $previous in
)",
                      ValueCases(commands), R"(  esac
  case $command in
)",
                      WordCases(commands), "  esac");
}

std::string Bash(const std::vector<CommandInfo>& commands) {
  return absl::StrCat(
      R"(# bash completion for keysphere: source this, or put it where bash looks for completions.
_keysphere() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
  local command='' next word values='' files='' words=''
  local i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
)",
      Lookup(commands), R"(
  if [[ -n $values ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$values" -- "$current")
  elif [[ -n $files ]]; then
    compopt -o filenames 2> /dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  else
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  fi
}
complete -o default -F _keysphere keysphere
)");
}

std::string Zsh(const std::vector<CommandInfo>& commands) {
  return absl::StrCat(R"(#compdef keysphere
# zsh completion for keysphere: put it into a folder of fpath as _keysphere.
_keysphere() {
  local current=${words[CURRENT]} previous=${words[CURRENT-1]}
  local command='' next word values='' files='' candidates=''
  integer i
  for ((i = 2; i < CURRENT; i++)); do
    word=${words[i]}
)",
                      absl::StrReplaceAll(Lookup(commands), {{") words=", ") candidates="}}), R"(
  if [[ -n $values ]]; then
    compadd -- ${=values}
  elif [[ -n $files ]]; then
    _files
  else
    compadd -- ${=candidates}
    [[ $current == -* ]] || _files
  fi
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _keysphere "$@"
else
  compdef _keysphere keysphere
fi
)");
}

std::string Fish(const std::vector<CommandInfo>& commands) {
  std::string script =
      "# fish completion for keysphere: put it into ~/.config/fish/completions/keysphere.fish.\n"
      "function __keysphere_command\n"
      "  set -l command ''\n"
      "  for word in (commandline -opc)[2..-1]\n"
      "    set -l next (string trim -- \"$command $word\")\n"
      "    switch $next\n"
      "      case ";
  for (const CommandInfo& command : commands) {
    if (!command.name.empty()) absl::StrAppend(&script, FishQuoted(command.name), " ");
  }
  absl::StrAppend(&script,
                  "\n        set command $next\n    end\n  end\n"
                  "  test \"$command\" = \"$argv[1]\"\nend\n"
                  "complete -c keysphere -f\n");
  const auto add_option = [&script](const std::string& condition,
                                    const CommandInfo::Option& option) {
    absl::StrAppend(&script, "complete -c keysphere", condition);
    for (const std::string& name : option.names) {
      absl::StrAppend(
          &script, name.substr(0, 2) == "--" ? " -l " + name.substr(2) : " -s " + name.substr(1));
    }
    if (!option.choices.empty()) {
      absl::StrAppend(&script, " -x -a ", FishQuoted(absl::StrJoin(option.choices, " ")));
    } else if (option.takes_value) {
      absl::StrAppend(&script, " -r -F");
    }
    absl::StrAppend(&script, " -d ", FishQuoted(option.description), "\n");
  };
  for (const CommandInfo& command : commands) {
    const std::string condition = absl::StrCat(
        " -n ", FishQuoted(absl::StrCat("__keysphere_command \"", command.name, "\"")));
    for (const std::string& child : command.subcommands) {
      std::string description;
      const std::string name = command.name.empty() ? child : command.name + " " + child;
      for (const CommandInfo& other : commands) {
        if (other.name == name) description = other.description;
      }
      absl::StrAppend(&script, "complete -c keysphere", condition, " -a ", child, " -d ",
                      FishQuoted(description), "\n");
    }
    for (const CommandInfo::Option& option : command.options) {
      // The root's are for every command.
      add_option(command.name.empty() ? "" : condition, option);
    }
  }
  return script;
}

}  // namespace

absl::StatusOr<std::string> CompletionScript(const std::string& shell,
                                             const std::vector<CommandInfo>& commands) {
  if (shell == "bash") return Bash(commands);
  if (shell == "zsh") return Zsh(commands);
  if (shell == "fish") return Fish(commands);
  return UsageError("SHELL is bash, zsh or fish");
}

}  // namespace keysphere::cli
