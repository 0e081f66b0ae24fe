#include <google/protobuf/descriptor.pb.h>

#include "absl/strings/str_cat.h"
#include "source/base/check.h"
#include "source/config/field_value.h"
#include "source/config/validate_plan.h"

namespace outrider::config {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using validate::FieldRules;

validate::FieldRules fieldRules(const FieldDescriptor& field) {
  const auto& options = field.options();
  if (options.HasExtension(validate::rules)) return options.GetExtension(validate::rules);
  google::protobuf::FieldOptions again;  // as bytes the extension is known whatever pool the options are from
  again.ParsePartialFromString(options.SerializePartialAsString());
  return again.GetExtension(validate::rules);
}

bool oneofRequired(const google::protobuf::OneofDescriptor& oneof) {
  google::protobuf::OneofOptions again;
  again.ParsePartialFromString(oneof.options().SerializePartialAsString());
  return again.GetExtension(validate::required);
}

namespace {

long double seconds(const google::protobuf::Duration& in) {
  return static_cast<long double>(in.seconds()) + static_cast<long double>(in.nanos()) / 1e9L;
}

class Compile final {
 public:
  Compile(const FieldDescriptor& field, std::vector<std::string>& unknown) : field_(field), unknown_(unknown) {}

  void field(const FieldRules& rules, FieldPlan& out, bool& skip) {
    if (rules.has_message()) {
      out.required = rules.message().required();
      skip = rules.message().skip();
    }
    switch (rules.type_case()) {
      case FieldRules::kRepeated: return repeated(rules.repeated(), out);
      case FieldRules::kMap: return map(rules.map(), out);
      case FieldRules::kAny: out.required = out.required || rules.any().required(); return only(rules.any(), {"required"});
      case FieldRules::kDuration: out.required = out.required || rules.duration().required(); break;
      case FieldRules::kTimestamp:
        out.required = out.required || rules.timestamp().required();
        return only(rules.timestamp(), {"required"});
      default: break;
    }
    out.value = value(rules);
  }

 private:
  std::unique_ptr<ValueRule> value(const FieldRules& rules) {
    auto out = std::make_unique<ValueRule>();
    switch (rules.type_case()) {
      case FieldRules::kFloat: number(rules.float_(), *out); break;
      case FieldRules::kDouble: number(rules.double_(), *out); break;
      case FieldRules::kInt32: number(rules.int32(), *out); break;
      case FieldRules::kInt64: number(rules.int64(), *out); break;
      case FieldRules::kUint32: number(rules.uint32(), *out); break;
      case FieldRules::kUint64: number(rules.uint64(), *out); break;
      case FieldRules::kBool:
        if (rules.bool_().has_const_()) out->constant = rules.bool_().const_();
        break;
      case FieldRules::kString: text(rules.string(), *out); break;
      case FieldRules::kBytes:
        only(rules.bytes(), {"min_len", "max_len"});
        if (rules.bytes().has_min_len()) out->least_bytes = rules.bytes().min_len();
        if (rules.bytes().has_max_len()) out->most_bytes = rules.bytes().max_len();
        break;
      case FieldRules::kEnum:
        only(rules.enum_(), {"defined_only", "not_in"});
        out->defined_only = rules.enum_().defined_only();
        out->enum_not_in.assign(rules.enum_().not_in().begin(), rules.enum_().not_in().end());
        break;
      case FieldRules::kDuration: duration(rules.duration(), *out); break;
      case FieldRules::TYPE_NOT_SET: return nullptr;
      default: unknown_.push_back(absl::StrCat(field_.full_name(), ": rules of a kind that is not known")); return nullptr;
    }
    return out;
  }

  template <class Rules>
  void number(const Rules& in, ValueRule& out) {
    only(in, {"gt", "gte", "lt", "lte", "ignore_empty"});
    if (in.has_gt()) out.gt = in.gt();
    if (in.has_gte()) out.gte = in.gte();
    if (in.has_lt()) out.lt = in.lt();
    if (in.has_lte()) out.lte = in.lte();
    out.ignore_empty = in.ignore_empty();
    ordered(out);
  }

  void duration(const validate::DurationRules& in, ValueRule& out) {
    only(in, {"required", "gt", "gte", "lt", "lte"});
    if (in.has_gt()) out.gt = seconds(in.gt());
    if (in.has_gte()) out.gte = seconds(in.gte());
    if (in.has_lt()) out.lt = seconds(in.lt());
    if (in.has_lte()) out.lte = seconds(in.lte());
    ordered(out);
  }

  // A lower bound above the upper one means "outside of the two", as with {gte: 0.001s, lte: 0s}.
  static void ordered(ValueRule& rule) {
    const auto low = rule.gt ? rule.gt : rule.gte;
    const auto high = rule.lt ? rule.lt : rule.lte;
    rule.outside = low && high && *low > *high;
  }

  void text(const validate::StringRules& in, ValueRule& out) {
    only(in, {"min_len", "max_len", "min_bytes", "max_bytes", "pattern", "prefix", "suffix", "in", "well_known_regex", "strict",
              "ignore_empty"});
    if (in.has_min_len()) out.least_chars = in.min_len();
    if (in.has_max_len()) out.most_chars = in.max_len();
    if (in.has_min_bytes()) out.least_bytes = in.min_bytes();
    if (in.has_max_bytes()) out.most_bytes = in.max_bytes();
    out.prefix = in.prefix();
    out.suffix = in.suffix();
    out.in.assign(in.in().begin(), in.in().end());
    out.ignore_empty = in.ignore_empty();
    if (in.well_known_regex() == validate::HTTP_HEADER_NAME) out.text = ValueRule::Text::kHeaderName;
    if (in.well_known_regex() == validate::HTTP_HEADER_VALUE) out.text = ValueRule::Text::kHeaderValue;
    if (in.has_strict()) out.strict = in.strict();
    if (in.has_pattern()) {
      auto compiled = match::Regex::compile(in.pattern());
      OUTRIDER_CHECK(compiled.ok());  // the API's own, all compiled by a test
      out.pattern = *std::move(compiled);
    }
  }

  void repeated(const validate::RepeatedRules& in, FieldPlan& out) {
    only(in, {"min_items", "max_items", "unique", "items"});
    if (in.has_min_items()) out.least_items = in.min_items();
    if (in.has_max_items()) out.most_items = in.max_items();
    out.unique = in.unique();
    if (in.has_items()) out.value = value(in.items());
  }

  void map(const validate::MapRules& in, FieldPlan& out) {
    only(in, {"min_pairs", "max_pairs", "keys", "values"});
    if (in.has_min_pairs()) out.least_items = in.min_pairs();
    if (in.has_max_pairs()) out.most_items = in.max_pairs();
    if (in.has_keys()) out.key = value(in.keys());
    if (in.has_values()) out.value = value(in.values());
  }

  // Anything set besides `names` is a rule that nobody checks.
  void only(const Message& rules, std::initializer_list<std::string_view> names) {
    std::vector<const FieldDescriptor*> set;
    rules.GetReflection()->ListFields(rules, &set);
    for (const FieldDescriptor* one : set) {
      bool known = false;
      for (const std::string_view name : names) known = known || one->name() == name;
      if (!known) unknown_.push_back(absl::StrCat(field_.full_name(), ": ", one->full_name()));
    }
  }

  const FieldDescriptor& field_;
  std::vector<std::string>& unknown_;
};

// Of numbers, strings and enums that have no presence: is the zero value refused?
bool refusesDefault(const ValueRule& rule, const FieldDescriptor& field) {
  if (rule.ignore_empty) return false;
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
    return rule.least_bytes > 0 || rule.least_chars > 0 || !rule.prefix.empty() || !rule.suffix.empty() || !rule.in.empty() ||
           rule.text == ValueRule::Text::kHeaderName || (rule.pattern != nullptr && !rule.pattern->partialMatch(""));
  }
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_BOOL) return rule.constant.value_or(false);
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM) {
    return !rule.enum_not_in.empty() || (rule.defined_only && field.enum_type()->FindValueByNumber(0) == nullptr);
  }
  return rule.outside || rule.gt.value_or(-1) >= 0 || rule.gte.value_or(0) > 0 || rule.lt.value_or(1) <= 0 || rule.lte.value_or(0) < 0;
}

}  // namespace

void compileRules(const FieldDescriptor& field, FieldPlan& out, bool& skip, std::vector<std::string>& unknown) {
  out.field = &field;
  const FieldDescriptor& value = field.is_map() ? *field.message_type()->map_value() : field;
  if (value.message_type() != nullptr && isWrapper(*value.message_type())) out.inner = value.message_type()->FindFieldByNumber(1);
  Compile(field, unknown).field(fieldRules(field), out, skip);
  // A member of a oneof is required only as the one that was chosen, and then it is there.
  if (field.real_containing_oneof() != nullptr) out.required = false;
  out.by_default = out.value != nullptr && !field.is_repeated() && !field.has_presence() && refusesDefault(*out.value, field);
}

}  // namespace outrider::config
