#include "source/config/header_edit.h"

#include "absl/strings/str_cat.h"

namespace outrider::config {

absl::StatusOr<HeaderEdit> HeaderEdit::compile(const HeaderEditSpec& spec) {
  HeaderEdit out;
  for (const HeaderAddSpec& add : spec.add) {
    auto value = format::Format::compile(add.value);
    if (!value.ok()) return absl::InvalidArgumentError(absl::StrCat("header ", add.name, " ", value.status().message()));
    out.add_.push_back({http::FieldName(add.name), add.action, add.keep_empty, *std::move(value)});
  }
  for (const std::string& name : spec.remove) out.remove_.emplace_back(name);
  return out;
}

void HeaderEdit::apply(http::HeaderMap& headers, const format::Input& input) const {
  for (const http::FieldName& name : remove_) {
    if (name.id() != http::HeaderId::kUnknown)
      headers.remove(name.id());
    else
      headers.remove(name.name());
  }
  if (add_.empty()) return;
  base::Arena& arena = headers.arena();
  thread_local format::Text text;
  auto* values = arena.array<std::string_view>(add_.size());
  bool overwrite = false;
  for (size_t i = 0; i < add_.size(); ++i) {
    const Add& add = add_[i];
    if (add.value.constant()) {
      values[i] = arena.copy(add.value.constantText());
    } else {
      text.clear();
      add.value.print(input, text, true);  // what is missing prints as nothing, as Envoy
      values[i] = arena.copy(text.view());
    }
    overwrite |= add.action == HeaderAddSpec::Action::kOverwrite || add.action == HeaderAddSpec::Action::kOverwriteIfExists;
  }
  using Action = HeaderAddSpec::Action;
  const auto present = [&](const Add& add) { return add.name.firstIn(headers).has_value(); };
  // What is to be added when absent is decided on the headers as they were.
  auto* wanted = arena.array<bool>(add_.size());
  for (size_t i = 0; i < add_.size(); ++i) {
    const Add& add = add_[i];
    wanted[i] = (!values[i].empty() || add.keep_empty) && (add.action != Action::kAddIfAbsent || !present(add)) &&
                (add.action != Action::kOverwriteIfExists || present(add));
  }
  const auto lasting = [&](const Add& add) {
    return add.name.id() != http::HeaderId::kUnknown ? http::headerName(add.name.id()) : arena.copy(add.name.name());
  };
  for (size_t i = 0; overwrite && i < add_.size(); ++i) {
    const Add& add = add_[i];
    if (!wanted[i] || (add.action != Action::kOverwrite && add.action != Action::kOverwriteIfExists)) continue;
    if (add.name.id() != http::HeaderId::kUnknown)
      headers.set(add.name.id(), values[i]);
    else
      headers.set(lasting(add), values[i]);
  }
  for (size_t i = 0; i < add_.size(); ++i) {
    const Add& add = add_[i];
    if (wanted[i] && (add.action == Action::kAppend || add.action == Action::kAddIfAbsent)) {
      headers.add(add.name.id(), lasting(add), values[i]);
    }
  }
}

}  // namespace outrider::config
