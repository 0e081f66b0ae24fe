#include "source/format/date.h"

#include <ctime>

namespace outrider::format {
namespace {

// Days since the epoch to a civil date (proleptic Gregorian), after the public-domain algorithm of H. Hinnant.
void civilOf(int64_t days, std::tm& out) {
  const int64_t z = days + 719468;
  const int64_t era = (z >= 0 ? z : z - 146096) / 146097;
  const auto doe = static_cast<uint64_t>(z - era * 146097);
  const uint64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
  const uint64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  const uint64_t mp = (5 * doy + 2) / 153;
  out.tm_mday = static_cast<int>(doy - (153 * mp + 2) / 5 + 1);
  out.tm_mon = static_cast<int>(mp < 10 ? mp + 2 : mp - 10);
  const int64_t year = static_cast<int64_t>(yoe) + era * 400 + (out.tm_mon <= 1 ? 1 : 0);
  out.tm_year = static_cast<int>(year - 1900);
  out.tm_wday = static_cast<int>((days % 7 + 11) % 7);
  static constexpr int kBefore[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
  const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  out.tm_yday = kBefore[out.tm_mon] + out.tm_mday - 1 + (leap && out.tm_mon > 1 ? 1 : 0);
}

// gmtime_r takes the C library's time-zone lock, which workers would fight for.
std::tm utcOf(int64_t seconds) {
  std::tm out{};
  int64_t days = seconds / 86400;
  int64_t rest = seconds % 86400;
  if (rest < 0) {
    rest += 86400;
    --days;
  }
  civilOf(days, out);
  out.tm_hour = static_cast<int>(rest / 3600);
  out.tm_min = static_cast<int>(rest / 60 % 60);
  out.tm_sec = static_cast<int>(rest % 60);
  out.tm_zone = "UTC";
  return out;
}

constexpr const char* kDays[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
constexpr const char* kMonths[] = {"January", "February", "March",     "April",   "May",      "June",
                                   "July",    "August",   "September", "October", "November", "December"};

void addOffset(const std::tm& tm, bool colon, Text& out) {
  long offset = tm.tm_gmtoff / 60;
  out.add(offset < 0 ? '-' : '+');
  if (offset < 0) offset = -offset;
  out.addPadded(static_cast<uint64_t>(offset / 60), 2);
  if (colon) out.add(':');
  out.addPadded(static_cast<uint64_t>(offset % 60), 2);
}

void addFraction(uint64_t nanos, int digits, Text& out) {
  for (int i = digits; i < 9; ++i) nanos /= 10;
  out.addPadded(nanos, digits);
}

}  // namespace

DateFormat::DateFormat(std::string_view format, bool local) : local_(local) {
  if (format.empty()) format = local ? "%Y-%m-%dT%H:%M:%E3S%z" : "%Y-%m-%dT%H:%M:%E3SZ";
  for (size_t at = 0; at < format.size();) add(format, at);
}

void DateFormat::add(std::string_view format, size_t& at) {
  const auto literal = [this](std::string_view text) {
    if (pieces_.empty() || pieces_.back().letter != 0) pieces_.push_back({0, 0, {}});
    pieces_.back().text += text;
  };
  if (format[at] != '%' || at + 1 == format.size()) {
    literal(format.substr(at++, 1));
    return;
  }
  const std::string_view rest = format.substr(at + 1);
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  if (rest[0] == '%') {
    literal("%");
    at += 2;
  } else if (rest[0] == 'f') {
    pieces_.push_back({'f', 9, {}});
    at += 2;
  } else if (rest.size() > 1 && rest[0] >= '1' && rest[0] <= '9' && rest[1] == 'f') {
    pieces_.push_back({'f', rest[0] - '0', {}});
    at += 3;
  } else if (rest.size() > 2 && rest[0] == 'E' && digit(rest[1]) && rest[2] == 'f') {
    pieces_.push_back({'f', rest[1] - '0', {}});
    at += 4;
  } else if (rest.size() > 2 && rest[0] == 'E' && digit(rest[1]) && rest[2] == 'S') {
    pieces_.push_back({'S', 0, {}});
    if (rest[1] != '0') {
      literal(".");
      pieces_.push_back({'f', rest[1] - '0', {}});
    }
    at += 4;
  } else if (rest.size() > 1 && rest[0] == 'E' && (rest[1] == 'z' || rest[1] == 's')) {
    pieces_.push_back({rest[1] == 'z' ? ':' : 's', 0, {}});
    at += 3;
  } else if (std::strchr("YmdHMSTFjebBaApyIZzsR", rest[0]) != nullptr && rest[0] != 0) {
    pieces_.push_back({rest[0], 0, {}});
    at += 2;
  } else {
    size_t end = 0;
    while (end < rest.size() && std::strchr("-_0^#EO123456789", rest[end]) != nullptr) ++end;
    if (end == rest.size()) {
      literal(format.substr(at));
      at = format.size();
      return;
    }
    if (rest[end] == 'n') has_newline_ = true;
    pieces_.push_back({'?', 0, "%" + std::string(rest.substr(0, end + 1))});
    at += end + 2;
  }
}

void DateFormat::print(base::Nanos since_epoch, Text& out) const {
  int64_t seconds = since_epoch / base::kSecond;
  int64_t nanos = since_epoch % base::kSecond;
  if (nanos < 0) {
    nanos += base::kSecond;
    --seconds;
  }
  std::tm tm{};
  if (local_) {
    const std::time_t time = seconds;
    localtime_r(&time, &tm);
  } else {
    tm = utcOf(seconds);
  }
  const auto two = [&](int number) { out.addPadded(static_cast<uint64_t>(number), 2); };
  const auto clock = [&](bool with_seconds) {
    two(tm.tm_hour);
    out.add(':');
    two(tm.tm_min);
    if (!with_seconds) return;
    out.add(':');
    two(tm.tm_sec);
  };
  const int hour12 = tm.tm_hour % 12 == 0 ? 12 : tm.tm_hour % 12;
  for (const Piece& piece : pieces_) {
    switch (piece.letter) {
      case 0: out.add(piece.text); break;
      case 'f': addFraction(static_cast<uint64_t>(nanos), piece.digits, out); break;
      case 's': out.addSigned(seconds); break;
      case 'Y': out.addSigned(tm.tm_year + 1900); break;
      case 'y': two(((tm.tm_year % 100) + 100) % 100); break;
      case 'm': two(tm.tm_mon + 1); break;
      case 'd': two(tm.tm_mday); break;
      case 'e':
        if (tm.tm_mday < 10) out.add(' ');
        out.addNumber(static_cast<uint64_t>(tm.tm_mday));
        break;
      case 'H': two(tm.tm_hour); break;
      case 'I': two(hour12); break;
      case 'M': two(tm.tm_min); break;
      case 'S': two(tm.tm_sec); break;
      case 'j': out.addPadded(static_cast<uint64_t>(tm.tm_yday + 1), 3); break;
      case 'T': clock(true); break;
      case 'R': clock(false); break;
      case 'F':
        out.addSigned(tm.tm_year + 1900);
        out.add('-');
        two(tm.tm_mon + 1);
        out.add('-');
        two(tm.tm_mday);
        break;
      case 'b': out.add(std::string_view(kMonths[tm.tm_mon]).substr(0, 3)); break;
      case 'B': out.add(kMonths[tm.tm_mon]); break;
      case 'a': out.add(std::string_view(kDays[tm.tm_wday]).substr(0, 3)); break;
      case 'A': out.add(kDays[tm.tm_wday]); break;
      case 'p': out.add(tm.tm_hour < 12 ? "AM" : "PM"); break;
      case 'Z': out.add(tm.tm_zone == nullptr ? "UTC" : tm.tm_zone); break;
      case 'z': addOffset(tm, false, out); break;
      case ':': addOffset(tm, true, out); break;
      default: {
        char* to = out.room(128);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"  // one conversion, checked when the format was compiled
        out.commit(std::strftime(to, 128, piece.text.c_str(), &tm));
#pragma GCC diagnostic pop
      }
    }
  }
}

}  // namespace outrider::format
