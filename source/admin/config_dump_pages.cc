// /config_dump: what the process was told, part by part.
#include <google/protobuf/util/field_mask_util.h>

#include <optional>

#include "absl/strings/str_cat.h"
#include "envoy/admin/v3/config_dump.pb.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "source/admin/dump_mask.h"
#include "source/admin/dump_parts.h"
#include "source/admin/json_writer.h"
#include "source/admin/page.h"
#include "source/base/absl_compat.h"
#include "source/config/schema.h"
#include "source/match/regex.h"

namespace outrider::admin {
namespace {

namespace dump = envoy::admin::v3;
using google::protobuf::Message;
using MessagePtr = std::unique_ptr<Message>;

constexpr std::string_view kUrl = "type.googleapis.com/";

// The whole dump. The bootstrap's static clusters and listeners, which may be thousands, are printed one by one; the rest of it in
// one go.
class WholePieces final : public Pieces {
 public:
  WholePieces(const Sources& sources, std::unique_ptr<DumpParts> dump) : sources_(sources), dump_(std::move(dump)) {}

  bool next(std::string& out) override {
    const Slice slice(sources_);
    const size_t end = out.size() + kPieceBytes;
    while (out.size() < end && !slice.over()) {
      switch (phase_) {
        case Phase::kBegin: begin(out); break;
        case Phase::kStatics: statics(out); break;
        case Phase::kRest: rest(out); return true;
        case Phase::kParts:
          if (part_ && part_->sort(slice)) return true;
          if (!step(out)) return true;  // a part's names were gathered
          break;
        case Phase::kEnd:
          writer_.close(out);
          writer_.close(out);
          out += '\n';
          return false;
      }
    }
    return true;
  }

 private:
  using Bootstrap = envoy::config::bootstrap::v3::Bootstrap;
  enum class Phase : uint8_t { kBegin, kStatics, kRest, kParts, kEnd };

  void begin(std::string& out) {
    writer_.openObject(out);
    writer_.openList("configs", out);
    writer_.openObject(out);
    writer_.member("@type", quotedDump(absl::StrCat(base::toAbsl(kUrl), "envoy.admin.v3.BootstrapConfigDump")), out);
    writer_.openObject("bootstrap", out);
    Bootstrap first;  // what stands before static_resources: fields go by number
    if (sources_.bootstrap.has_node()) *first.mutable_node() = sources_.bootstrap.node();
    writer_.members(printDump(first), out);
    phase_ = Phase::kRest;
    if (!sources_.bootstrap.has_static_resources()) return;
    writer_.openObject("static_resources", out);
    phase_ = Phase::kStatics;
  }

  void statics(std::string& out) {
    const auto& fixed = sources_.bootstrap.static_resources();
    const auto done = [&](std::string_view name, const auto& list) {
      if (list.empty()) return true;
      if (at_ == 0) writer_.openList(name, out);
      writer_.element(printDump(list[static_cast<int>(at_)]), out);
      if (++at_ < static_cast<size_t>(list.size())) return false;
      writer_.close(out);
      return true;
    };
    const bool next = list_ == 0   ? done("listeners", fixed.listeners())
                      : list_ == 1 ? done("clusters", fixed.clusters())
                                   : done("secrets", fixed.secrets());
    if (!next) return;
    at_ = 0;
    if (++list_ < 3) return;
    list_ = 0;
    writer_.close(out);
    phase_ = Phase::kRest;
  }

  void rest(std::string& out) {
    std::vector<const google::protobuf::FieldDescriptor*> set;
    sources_.bootstrap.GetReflection()->ListFields(sources_.bootstrap, &set);
    google::protobuf::FieldMask mask;
    for (const auto* field : set) {
      if (field->name() != "node" && field->name() != "static_resources") mask.add_paths(field->name());
    }
    Bootstrap left;
    google::protobuf::util::FieldMaskUtil::MergeMessageTo(sources_.bootstrap, mask, {}, &left);
    writer_.members(printDump(left), out);
    writer_.close(out);
    dump::BootstrapConfigDump times;
    setTime(sources_.started_at, times.mutable_last_updated());
    writer_.members(printDump(times), out);
    writer_.close(out);
    phase_ = Phase::kParts;
  }

  // False: a new part was begun, which takes its time.
  bool step(std::string& out) {
    if (!part_) {
      if (index_ == DumpParts::kParts) {
        phase_ = Phase::kEnd;
        return true;
      }
      part_ = dump_->part(index_++);
      if (!part_) return true;
      writer_.openObject(out);
      writer_.member("@type", quotedDump(absl::StrCat(base::toAbsl(kUrl), base::toAbsl(part_->type))), out);
      if (!part_->version.empty()) writer_.member("version_info", quotedDump(part_->version), out);
      list_ = at_ = 0;
      return false;
    }
    if (list_ == part_->lists.size()) {
      writer_.close(out);
      part_.reset();
      return true;
    }
    const DumpList& list = part_->lists[list_];
    if (at_ < list.count()) {
      for (const MessagePtr& element : list.make(at_++)) {
        if (!std::exchange(list_open_, true)) writer_.openList(list.name, out);
        writer_.element(printDump(*element), out);
      }
      return true;
    }
    if (std::exchange(list_open_, false)) writer_.close(out);
    at_ = 0;
    ++list_;
    return true;
  }

  const Sources& sources_;
  const std::unique_ptr<DumpParts> dump_;
  JsonWriter writer_;
  Phase phase_ = Phase::kBegin;
  std::optional<DumpPart> part_;
  size_t index_ = 0;  // of the next part
  size_t list_ = 0, at_ = 0;
  bool list_open_ = false;
};

// "@type" first, then the message's own members.
void printTyped(const Message& message, JsonWriter& writer, std::string& out) {
  writer.openObject(out);
  writer.member("@type", quotedDump(absl::StrCat(base::toAbsl(kUrl), message.GetDescriptor()->full_name())), out);
  writer.members(printDump(message), out);
  writer.close(out);
}

// ?resource=dynamic_active_clusters: the elements of one list, masked each.
class ListPieces final : public Pieces {
 public:
  ListPieces(const Sources& sources, std::unique_ptr<DumpParts> dump, DumpPart part, size_t list, DumpMask mask)
      : sources_(sources), dump_(std::move(dump)), part_(std::move(part)), list_(part_.lists[list]), mask_(std::move(mask)) {}

  bool next(std::string& out) override {
    const Slice slice(sources_);
    if (part_.sort(slice)) return true;
    const size_t end = out.size() + kPieceBytes;
    const size_t count = list_.count();
    if (at_ == 0 && !begun_) {
      begun_ = true;
      writer_.openObject(out);
    }
    for (; at_ < count && out.size() < end && !slice.over(); ++at_) {
      for (const MessagePtr& element : list_.make(at_)) {
        if (!mask_.empty() && !mask_.apply(*element)) continue;
        if (!std::exchange(open_, true)) writer_.openList("configs", out);
        printTyped(*element, writer_, out);
      }
    }
    if (at_ < count) return true;
    if (open_) writer_.close(out);
    writer_.close(out);
    out += '\n';
    return false;
  }

 private:
  const Sources& sources_;
  const std::unique_ptr<DumpParts> dump_;  // the part refers to it
  const DumpPart part_;
  const DumpList& list_;
  const DumpMask mask_;
  JsonWriter writer_;
  size_t at_ = 0;
  bool begun_ = false, open_ = false;
};

Answer wrong(std::string text, uint16_t status) { return {status, "text/plain", std::move(text), nullptr}; }

// ?mask=clusters: what the mask leaves of each part; a part that has no such fields is left out. Below a list no mask reaches, so a
// list is there as a whole or not at all.
class MaskedPieces final : public Pieces {
 public:
  MaskedPieces(const Sources& sources, std::unique_ptr<DumpParts> dump, DumpMask mask)
      : sources_(sources), dump_(std::move(dump)), mask_(std::move(mask)) {}

  // Whether the mask fits any part at all.
  bool fits() const {
    dump::BootstrapConfigDump bootstrap = this->bootstrap();
    if (mask_.apply(bootstrap)) return true;
    for (size_t i = 0; i < DumpParts::kParts; ++i) {
      if (fitsPart(i)) return true;
    }
    return false;
  }

  bool next(std::string& out) override {
    const Slice slice(sources_);
    if (!std::exchange(begun_, true)) {
      writer_.openObject(out);
      writer_.openList("configs", out);
      dump::BootstrapConfigDump bootstrap = this->bootstrap();
      if (mask_.apply(bootstrap)) printTyped(bootstrap, writer_, out);
      return true;
    }
    const size_t end = out.size() + kPieceBytes;
    while (out.size() < end && !slice.over()) {
      if (!part_) {
        if (index_ == DumpParts::kParts) {
          writer_.close(out);
          writer_.close(out);
          out += '\n';
          return false;
        }
        if (fitsPart(index_)) part_ = dump_->part(index_);
        ++index_;
        if (part_) beginPart(out);
        return true;  // names were gathered
      }
      if (part_->sort(slice)) return true;
      part(out);
    }
    return true;
  }

 private:
  dump::BootstrapConfigDump bootstrap() const {
    dump::BootstrapConfigDump out;
    *out.mutable_bootstrap() = sources_.bootstrap;
    setTime(sources_.started_at, out.mutable_last_updated());
    return out;
  }

  bool fitsPart(size_t index) const { return mask_.apply(*config::newMessage(*config::findType(DumpParts::typeOf(index)))); }

  // Whether the mask leaves a field of the part, which is a list or a text.
  bool leaves(std::string_view name) const {
    const auto* type = config::findType(part_->type);
    const auto* field = type->FindFieldByName(std::string(name));
    const MessagePtr probe = config::newMessage(*type);
    const auto* reflection = probe->GetReflection();
    if (field->is_repeated()) {
      reflection->AddMessage(probe.get(), field);
      return mask_.apply(*probe) && reflection->FieldSize(*probe, field) > 0;
    }
    reflection->SetString(probe.get(), field, "v");
    return mask_.apply(*probe) && reflection->HasField(*probe, field);
  }

  void beginPart(std::string& out) {
    writer_.openObject(out);
    writer_.member("@type", quotedDump(absl::StrCat(base::toAbsl(kUrl), base::toAbsl(part_->type))), out);
    if (!part_->version.empty() && leaves("version_info")) writer_.member("version_info", quotedDump(part_->version), out);
    list_ = at_ = 0;
  }

  void part(std::string& out) {
    if (list_ == part_->lists.size()) {
      writer_.close(out);
      part_.reset();
      return;
    }
    const DumpList& list = part_->lists[list_];
    if (at_ < list.count() && (at_ > 0 || leaves(list.name))) {
      for (const MessagePtr& element : list.make(at_++)) {
        if (!std::exchange(open_, true)) writer_.openList(list.name, out);
        writer_.element(printDump(*element), out);
      }
      return;
    }
    if (std::exchange(open_, false)) writer_.close(out);
    at_ = 0;
    ++list_;
  }

  const Sources& sources_;
  const std::unique_ptr<DumpParts> dump_;
  const DumpMask mask_;
  JsonWriter writer_;
  std::optional<DumpPart> part_;
  size_t index_ = 0;  // of the next part
  size_t list_ = 0, at_ = 0;
  bool begun_ = false, open_ = false;
};

Answer configDump(const Sources& sources, const Request& request) {
  const std::string* resource = request.param("resource");
  const std::string* mask = request.param("mask");
  std::shared_ptr<const match::Regex> names;
  if (const std::string* pattern = request.param("name_regex"); pattern != nullptr && !pattern->empty()) {
    auto compiled = match::Regex::compile(*pattern);
    if (!compiled.ok()) {
      return wrong(absl::StrCat("INVALID_ARGUMENT: Error while parsing name_regex from ", *pattern, ": ", compiled.status().message()),
                   400);
    }
    names = *std::move(compiled);
  }
  auto all = std::make_unique<DumpParts>(sources, std::move(names), request.has("include_eds"));
  if (resource == nullptr || resource->empty()) {
    if (mask != nullptr && !mask->empty()) {
      auto pieces = std::make_unique<MaskedPieces>(sources, std::move(all), DumpMask(*mask));
      if (!pieces->fits()) {
        return wrong(absl::StrCat("FieldMask ", *mask, " could not be successfully applied to any configs."), 400);
      }
      return Answer::stream(std::move(pieces), kJson);
    }
    return Answer::stream(std::make_unique<WholePieces>(sources, std::move(all)), kJson);
  }
  if (*resource == "bootstrap" || *resource == "last_updated" || *resource == "version_info") {
    return wrong(absl::StrCat(*resource, " is not a repeated field. Use ?mask=", *resource, " to get only this field"), 400);
  }
  const DumpMask each(mask == nullptr ? std::string_view() : std::string_view(*mask));
  for (size_t i = 0; i < DumpParts::kParts; ++i) {
    const google::protobuf::Descriptor* type = config::findType(DumpParts::typeOf(i));
    if (type->FindFieldByName(*resource) == nullptr) continue;
    std::optional<DumpPart> part = all->part(i);
    if (!part) continue;
    for (size_t at = 0; at < part->lists.size(); ++at) {
      const DumpList& list = part->lists[at];
      if (list.name != *resource) continue;
      const size_t count = each.empty() ? 0 : list.count();
      for (size_t step = 0; step < count; ++step) {  // what is wrong with the mask shows at any element
        const Made any = list.make(step);
        if (any.empty()) continue;
        if (!each.apply(*any.front())) return wrong(absl::StrCat("FieldMask ", *mask, " could not be successfully used."), 400);
        break;
      }
      return Answer::stream(std::make_unique<ListPieces>(sources, std::move(all), *std::move(part), at, each), kJson);
    }
  }
  return wrong(*resource + " not found in config dump", 404);
}

}  // namespace

void addConfigDumpPages(Pages& pages, const Sources& sources) {
  pages.push_back(
      {"/config_dump",
       "dump current configs",
       false,
       [&](const Request& request) { return configDump(sources, request); },
       {{"resource", "The resource to dump"},
        {"mask",
         "The mask to apply. When both resource and mask are specified, the mask is applied to every element in the desired repeated field "
         "so that only a subset of fields are returned. The mask is parsed as a Protobuf::FieldMask"},
        {"name_regex",
         "Dump only the currently loaded configurations whose names match the specified regex. Can be used with both resource and mask "
         "query parameters."},
        {"include_eds", "Dump currently loaded configuration including EDS. See the response definition for more information"}}});
}

}  // namespace outrider::admin
