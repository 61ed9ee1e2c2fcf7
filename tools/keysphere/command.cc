#include "tools/keysphere/command.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status/text.h"
#include "common/status/utf8.h"

namespace keysphere::cli {
namespace {

constexpr char kUsagePayload[] = "keysphere.cli/usage";

// "Example:\n  keysphere vm list".
std::string Footer(const CLI::App& app, const std::string& example) {
  const CLI::App* root = &app;
  while (root->get_parent() != nullptr) root = root->get_parent();
  std::string footer = absl::StrCat("Example:\n  ", root->get_name(), " ", example);
  if (&app != root) {
    absl::StrAppend(&footer, "\n\nGlobal options (", root->get_name(), " --help): -o json|table, ",
                    "--server, --dir, --user, --authority, …");
  }
  return footer;
}

CLI::App* Add(CLI::App* parent, const std::string& name, const std::string& description) {
  CLI::App* app = parent->add_subcommand(name, description);
  // A command line names exactly one command: a later word is never taken for another, so that a
  // VM may be called "list".
  parent->require_subcommand(1);
  app->require_subcommand(0);
  return app;
}

std::string FullName(const CLI::App& app) {
  if (app.get_parent() == nullptr) return "";
  const std::string parent = FullName(*app.get_parent());
  return parent.empty() ? app.get_name() : absl::StrCat(parent, " ", app.get_name());
}

// The values of a Choice, kept where completion finds them.
std::vector<std::string> ChoicesOf(const CLI::Option& option) {
  std::vector<std::string> choices;
  const std::string text = option.get_option_text();
  if (text.empty() || text.find('|') == std::string::npos) return choices;
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find('|', begin), text.size());
    choices.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return choices;
}

// Where the words named no command: what is wrong with the first that was not understood; "" if
// that is not what is wrong.
std::string UnknownCommand(const CLI::App& root) {
  const CLI::App* app = &root;
  while (!app->get_subcommands().empty()) app = app->get_subcommands().front();
  const std::vector<std::string> rest = root.remaining(/*recurse=*/true);
  const bool wants_command = !app->get_subcommands([](const CLI::App*) { return true; }).empty();
  if (!wants_command || rest.empty()) return "";
  for (const std::string& word : rest) {
    if (!word.empty() && word[0] == '-') continue;
    return absl::StrCat(root.get_name(), FullName(*app).empty() ? "" : " ", FullName(*app),
                        " has no command \"", word, "\"");
  }
  return absl::StrCat("unknown option ", rest[0]);
}

void DescribeInto(const CLI::App& app, std::vector<CommandInfo>* all) {
  CommandInfo info;
  info.name = FullName(app);
  info.description = app.get_description();
  info.help = app.help(app.get_parent() == nullptr ? "" : FullName(*app.get_parent()));
  const std::vector<const CLI::App*> children =
      app.get_subcommands([](const CLI::App*) { return true; });
  for (const CLI::App* child : children) info.subcommands.push_back(child->get_name());
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_positional()) continue;
    CommandInfo::Option entry;
    for (const std::string& name : option->get_snames()) entry.names.push_back("-" + name);
    for (const std::string& name : option->get_lnames()) entry.names.push_back("--" + name);
    entry.description = option->get_description();
    entry.takes_value = option->get_items_expected_max() > 0;
    entry.choices = ChoicesOf(*option);
    info.options.push_back(std::move(entry));
  }
  all->push_back(std::move(info));
  for (const CLI::App* child : children) DescribeInto(*child, all);
}

}  // namespace

absl::Status UsageError(const std::string& message) {
  absl::Status status = absl::InvalidArgumentError(message);
  status.SetPayload(kUsagePayload, absl::Cord());
  return status;
}

bool IsUsageError(const absl::Status& status) {
  return status.GetPayload(kUsagePayload).has_value();
}

Command Command::Sub(const std::string& name, const std::string& description,
                     const std::string& example) {
  CLI::App* const app = Add(app_, name, description);
  app->footer(Footer(*app, example));
  return Command(app, chosen_);
}

void Command::Argument(std::string* target, const std::string& name, const std::string& help) {
  app_->add_option(name, *target, help)->required()->option_text(" ");
}

void Command::OptionalArgument(std::string* target, const std::string& name,
                               const std::string& help) {
  app_->add_option(name, *target, help)->option_text(" ");
}

void Command::Arguments(std::vector<std::string>* target, const std::string& name,
                        const std::string& help) {
  app_->add_option(name, *target, help)->required()->option_text("...");
}

void Command::Option(std::string* target, const std::string& name, const std::string& value,
                     const std::string& help) {
  app_->add_option(name, *target, help)->option_text(value);
}

void Command::Required(std::string* target, const std::string& name, const std::string& value,
                       const std::string& help) {
  app_->add_option(name, *target, help)->required()->option_text(value + " (required)");
}

void Command::Choice(std::string* target, const std::string& name,
                     const std::vector<std::string>& choices, const std::string& help) {
  std::string text;
  for (const std::string& choice : choices) absl::StrAppend(&text, text.empty() ? "" : "|", choice);
  app_->add_option(name, *target, help)->check(CLI::IsMember(choices))->option_text(text);
}

void Command::Option(int64_t* target, const std::string& name, const std::string& value,
                     const std::string& help, int64_t least, int64_t most) {
  const auto range = [least, most](const std::string& text) -> std::string {
    int64_t count = 0;
    // What is no number at all is told by the conversion.
    if (!absl::SimpleAtoi(text, &count) || (count >= least && count <= most)) return "";
    if (most == std::numeric_limits<int64_t>::max()) {
      return absl::StrCat("at least ", least, ", not ", count);
    }
    return absl::StrCat(least, " to ", most, ", not ", count);
  };
  app_->add_option(name, *target, help)->check(range)->option_text(value);
}

void Command::Option(std::vector<std::string>* target, const std::string& name,
                     const std::string& value, const std::string& help) {
  app_->add_option(name, *target, help)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->option_text(value + " (repeatable)");
}

void Command::Option(absl::optional<std::string>* target, const std::string& name,
                     const std::string& value, const std::string& help) {
  const std::function<void(const std::string&)> set = [target](const std::string& given) {
    *target = given;
  };
  app_->add_option_function<std::string>(name, set, help)->option_text(value);
}

void Command::Flag(bool* target, const std::string& name, const std::string& help) {
  app_->add_flag(name, *target, help);
}

void Command::YesNo(absl::optional<bool>* target, const std::string& name,
                    const std::string& help) {
  const auto set = [target, name](bool value) {
    if (target->has_value() && **target != value) {
      throw CLI::ValidationError("--" + name, "not together with --no-" + name);
    }
    *target = value;
  };
  app_->add_flag_callback(
      "--" + name, [set] { set(true); }, help);
  app_->add_flag_callback(
      "--no-" + name, [set] { set(false); }, "the opposite");
}

void Command::Run(Action action) {
  Action* const chosen = chosen_;
  app_->callback([chosen, action = std::move(action)] { *chosen = action; });
}

CommandLine::CommandLine(const std::string& program, const std::string& description,
                         const std::string& example)
    : app_(std::make_unique<CLI::App>(description, program)) {
  app_->fallthrough();
  app_->get_formatter()->column_width(34);
  app_->footer(Footer(*app_, example));
}

CommandLine::~CommandLine() = default;

Command CommandLine::root() { return Command(app_.get(), &chosen_); }

CommandLine::Parsed CommandLine::Parse(const std::vector<std::string>& arguments, std::ostream& out,
                                       std::ostream& err) {
  for (const std::string& word : arguments) {
    if (status::IsUtf8(word)) continue;
    // No message could carry it.
    Parsed refused;
    refused.exit_code = 2;
    err << "not valid UTF-8: " << status::Printable(word, 80) << "\n";
    return refused;
  }
  // The library takes them from the back.
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
  Parsed parsed;
  chosen_ = nullptr;
  try {
    app_->parse(std::move(reversed));
    parsed.action = std::move(chosen_);
  } catch (const CLI::RequiredError& error) {
    const std::string unknown = UnknownCommand(*app_);
    parsed.exit_code = 2;
    if (unknown.empty()) {
      app_->exit(error, out, err);
    } else {
      err << unknown << "\nRun with --help for more information.\n";
    }
  } catch (const CLI::ParseError& error) {
    parsed.exit_code = app_->exit(error, out, err) == 0 ? 0 : 2;
  }
  return parsed;
}

std::vector<CommandInfo> CommandLine::Describe() const {
  std::vector<CommandInfo> all;
  DescribeInto(*app_, &all);
  return all;
}

}  // namespace keysphere::cli
