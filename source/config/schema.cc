#include "source/config/schema.h"

#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/descriptor_database.h>
#include <google/protobuf/dynamic_message.h>

#include <algorithm>
#include <vector>

#include "api/descriptors.h"
#include "source/base/check.h"

namespace outrider::config {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

// Types that no compiled code knows. Descriptors are built when first asked for; most never are.
class Embedded final {
 public:
  Embedded() : pool_(&database_), factory_(&pool_) {
    const std::string_view bytes = api::descriptorSet();
    // The set is split by hand into its files, which the database then only indexes.
    google::protobuf::FileDescriptorSet set;
    OUTRIDER_CHECK(set.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
    for (google::protobuf::FileDescriptorProto& file : *set.mutable_file()) {
      auto* kept = new google::protobuf::FileDescriptorProto();
      kept->Swap(&file);
      database_.AddAndOwn(kept);
    }
    factory_.SetDelegateToGeneratedFactory(false);
  }
  const Descriptor* find(const std::string& name) { return pool_.FindMessageTypeByName(name); }
  const google::protobuf::Message* prototype(const Descriptor& type) { return factory_.GetPrototype(&type); }

 private:
  google::protobuf::SimpleDescriptorDatabase database_;
  google::protobuf::DescriptorPool pool_;
  google::protobuf::DynamicMessageFactory factory_;
};

Embedded& embedded() {
  static Embedded* const only = new Embedded();   // never destroyed: messages may outlive main()
  return *only;
}

}  // namespace

const Descriptor* findType(std::string_view full_name) {
  const std::string name(full_name);
  const Descriptor* compiled = google::protobuf::DescriptorPool::generated_pool()->FindMessageTypeByName(name);
  return compiled != nullptr ? compiled : embedded().find(name);
}

std::unique_ptr<google::protobuf::Message> newMessage(const Descriptor& type) {
  const google::protobuf::Message* prototype =
      type.file()->pool() == google::protobuf::DescriptorPool::generated_pool()
          ? google::protobuf::MessageFactory::generated_factory()->GetPrototype(&type)
          : embedded().prototype(type);
  OUTRIDER_CHECK(prototype != nullptr);
  return std::unique_ptr<google::protobuf::Message>(prototype->New());
}

std::string_view typeOfUrl(std::string_view url) {
  const size_t slash = url.rfind('/');
  return slash == std::string_view::npos ? url : url.substr(slash + 1);
}

std::string urlOfType(std::string_view full_name) { return "type.googleapis.com/" + std::string(full_name); }

const FieldDescriptor* findField(const Descriptor& type, std::string_view name) {
  const std::string text(name);
  if (const FieldDescriptor* field = type.FindFieldByName(text)) return field;
  if (const FieldDescriptor* field = type.FindFieldByCamelcaseName(text)) return field;
  for (int i = 0; i < type.field_count(); ++i) {
    if (type.field(i)->json_name() == text) return type.field(i);
  }
  return nullptr;
}

std::string nearestField(const Descriptor& type, std::string_view name) {
  Nearest nearest(name);
  for (int i = 0; i < type.field_count(); ++i) nearest.offer(type.field(i)->name());
  return nearest.best();
}

namespace {

// Levenshtein's distance, of short words only.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace

// Names written in camelCase are compared as the API spells them.
Nearest::Nearest(std::string_view word) {
  constexpr size_t kLongest = 80;
  for (const char c : word.substr(0, kLongest)) {
    if (c >= 'A' && c <= 'Z') {
      word_ += '_';
      word_ += static_cast<char>(c - 'A' + 'a');
    } else {
      word_ += c == '-' ? '_' : c;
    }
  }
  distance_ = word_.size() / 3 + 1;
}

void Nearest::offer(std::string_view candidate) {
  if (candidate.size() > word_.size() + distance_ || word_.size() > candidate.size() + distance_) return;
  const size_t away = distance(word_, candidate);
  if (away < distance_) {
    distance_ = away;
    best_ = candidate;
  }
}

}  // namespace outrider::config
