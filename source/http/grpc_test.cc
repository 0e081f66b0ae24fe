#include "source/http/grpc.h"

#include <gtest/gtest.h>

namespace outrider::http {
namespace {

TEST(GrpcTimeout, IsReadInEveryUnit) {
  EXPECT_EQ(readGrpcTimeout("2H"), 7200 * base::kSecond);
  EXPECT_EQ(readGrpcTimeout("3M"), 180 * base::kSecond);
  EXPECT_EQ(readGrpcTimeout("5S"), 5 * base::kSecond);
  EXPECT_EQ(readGrpcTimeout("100m"), 100 * base::kMilli);
  EXPECT_EQ(readGrpcTimeout("7u"), 7000);
  EXPECT_EQ(readGrpcTimeout("9n"), 9);
  for (const char* bad : {"", "5", "S", "5s", "-1S", "123456789S", "1 S", "1.5S"}) EXPECT_EQ(readGrpcTimeout(bad), 0) << bad;
}

TEST(GrpcTimeout, IsPrintedWithAtMostEightDigits) {
  base::Arena* arena = base::Arena::create();
  EXPECT_EQ(printGrpcTimeout(*arena, 1), "1m");
  EXPECT_EQ(printGrpcTimeout(*arena, 2500 * base::kMilli), "2500m");
  EXPECT_EQ(printGrpcTimeout(*arena, 99'999'999 * base::kMilli), "99999999m");
  EXPECT_EQ(printGrpcTimeout(*arena, 100'000 * base::kSecond), "100000S");
  EXPECT_EQ(printGrpcTimeout(*arena, 100'000'000 * base::kSecond), "1666666M");
  EXPECT_EQ(readGrpcTimeout(printGrpcTimeout(*arena, 1234 * base::kMilli)), 1234 * base::kMilli);
  arena->unref();
}

}  // namespace
}  // namespace outrider::http
