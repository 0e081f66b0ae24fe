#include "source/config/schema.h"

#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/descriptor_database.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/stubs/logging.h>

#include <algorithm>
#include <vector>

#include "api/descriptors.h"
#include "source/base/check.h"
#include "source/base/log.h"

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
  static Embedded* const only = new Embedded();  // never destroyed: messages may outlive main()
  return *only;
}

}  // namespace

const Descriptor* findType(std::string_view full_name) {
  const std::string name(full_name);
  const Descriptor* compiled = google::protobuf::DescriptorPool::generated_pool()->FindMessageTypeByName(name);
  return compiled != nullptr ? compiled : embedded().find(name);
}

std::unique_ptr<google::protobuf::Message> newMessage(const Descriptor& type) {
  const google::protobuf::Message* prototype = type.file()->pool() == google::protobuf::DescriptorPool::generated_pool()
                                                   ? google::protobuf::MessageFactory::generated_factory()->GetPrototype(&type)
                                                   : embedded().prototype(type);
  OUTRIDER_CHECK(prototype != nullptr);
  return std::unique_ptr<google::protobuf::Message>(prototype->New());
}

void routeProtobufLog() {
  google::protobuf::SetLogHandler([](google::protobuf::LogLevel level, const char* file, int line, const std::string& text) {
    if (level == google::protobuf::LOGLEVEL_FATAL) {
      OUTRIDER_LOG(kCritical, kConfig, "protobuf: %s:%d: %s", file, line, text.c_str());
    } else {
      OUTRIDER_LOG(kDebug, kConfig, "protobuf: %s", text.c_str());
    }
  });
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

}  // namespace outrider::config
