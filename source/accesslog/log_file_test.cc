#include "source/accesslog/log_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <thread>

namespace outrider::accesslog {
namespace {

class LogFileTest : public testing::Test {
 protected:
  LogFileTest() {
    std::string name = testing::TempDir() + "/logXXXXXX";
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  ~LogFileTest() override { [[maybe_unused]] const int rc = std::system(("rm -rf '" + folder_ + "'").c_str()); }

  static std::string content(const std::string& path) {
    std::string out;
    const int fd = ::open(path.c_str(), O_RDONLY);
    char chunk[4096];
    for (ssize_t n; fd >= 0 && (n = ::read(fd, chunk, sizeof chunk)) > 0;) out.append(chunk, static_cast<size_t>(n));
    if (fd >= 0) ::close(fd);
    return out;
  }
  // Waits for a condition, at most ten seconds.
  static bool becomes(const std::function<bool()>& condition) {
    for (int i = 0; i < 2000; ++i) {
      if (condition()) return true;
      ::usleep(5000);
    }
    return false;
  }
  std::shared_ptr<LogFile> open(const std::string& path) {
    auto file = files_.open(path);
    EXPECT_TRUE(file.ok()) << file.status();
    return file.ok() ? *file : nullptr;
  }
  uint64_t count(FileStat stat) { return FileStats(store_.scope("filesystem.", kFileTable)).read(stat); }

  std::string folder_;
  stats::Store store_;
  LogFiles files_{store_, {.flush_interval = 3600 * base::kSecond, .most_bytes = 256 * 1024}};
};

TEST_F(LogFileTest, LinesAreOnDiskAfterAFlush) {
  auto file = open(folder_ + "/a");
  file->append("one\n");
  file->append("two\n");
  file->flush();
  EXPECT_TRUE(becomes([&] { return content(folder_ + "/a") == "one\ntwo\n"; }));
  EXPECT_EQ(count(FileStat::kWriteBuffered), 2u);
}

TEST_F(LogFileTest, AnIntervalFlushesByItself) {
  LogFiles files(store_, {.flush_interval = 10 * base::kMilli});
  auto file = *files.open(folder_ + "/a");
  file->append("x\n");
  EXPECT_TRUE(becomes([&] { return content(folder_ + "/a") == "x\n"; }));
}

TEST_F(LogFileTest, TheLastUserLeavesNothingUnwritten) {
  auto file = open(folder_ + "/a");
  for (int i = 0; i < 3000; ++i) file->append(std::to_string(i) + "\n");
  file.reset();
  std::string want;
  for (int i = 0; i < 3000; ++i) want += std::to_string(i) + "\n";
  EXPECT_EQ(content(folder_ + "/a"), want);
}

TEST_F(LogFileTest, OnePathIsOneFile) { EXPECT_EQ(open(folder_ + "/a"), open(folder_ + "/a")); }

TEST_F(LogFileTest, WorkersKeepTheirOrderAndLoseNothing) {
  LogFiles files(store_, {.flush_interval = base::kMilli, .most_bytes = 64 << 20});
  auto file = *files.open(folder_ + "/a");
  constexpr int kWorkers = 3, kLines = 20000;
  std::vector<std::thread> workers;
  for (int w = 1; w <= kWorkers; ++w) {
    workers.emplace_back([&, w] {
      stats::setSlot(static_cast<uint32_t>(w));
      for (int i = 0; i < kLines; ++i) file->append(std::to_string(w) + " " + std::to_string(i) + "\n");
    });
  }
  for (std::thread& worker : workers) worker.join();
  file.reset();
  int next[kWorkers + 1] = {};
  const std::string text = content(folder_ + "/a");
  for (size_t at = 0; at < text.size(); at = text.find('\n', at) + 1) {
    const int w = std::atoi(&text[at]);
    ASSERT_TRUE(w >= 1 && w <= kWorkers) << at;
    ASSERT_EQ(std::atoi(&text[at + 2]), next[w]++);
  }
  for (int w = 1; w <= kWorkers; ++w) EXPECT_EQ(next[w], kLines);
}

// SECURITY.md 383.
TEST_F(LogFileTest, AReopenedFileLosesNoLine) {
  auto file = open(folder_ + "/a");
  file->append("old\n");
  ASSERT_EQ(::rename((folder_ + "/a").c_str(), (folder_ + "/a.1").c_str()), 0);
  files_.reopenAll();
  ASSERT_TRUE(becomes([&] { return ::access((folder_ + "/a").c_str(), F_OK) == 0; }));
  EXPECT_EQ(content(folder_ + "/a.1"), "old\n");
  file->append("new\n");
  file->flush();
  EXPECT_TRUE(becomes([&] { return content(folder_ + "/a") == "new\n"; }));
}

// SECURITY.md 393.
TEST_F(LogFileTest, AFullDiskCostsLinesOnly) {
  auto file = open("/dev/full");
  for (int i = 1; i <= 3; ++i) {
    file->append("x\n");
    file->flush();
    ASSERT_TRUE(becomes([&] { return count(FileStat::kWriteFailed) == static_cast<uint64_t>(i); }));
  }
  EXPECT_EQ(count(FileStat::kWriteDropped), 3u);
}

// SECURITY.md 395.
TEST_F(LogFileTest, AStalledPipeNeverHoldsUpAWorker) {
  const std::string path = folder_ + "/pipe";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  const int reader = ::open(path.c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(reader, 0);
  auto file = open(path);
  const std::string line(999, 'x');
  for (int i = 0; i < 2000; ++i) file->append(line + "\n");  // 2 MB into a pipe that nobody reads
  EXPECT_GT(count(FileStat::kWriteDropped), 1000u);          // 256 KiB may wait, and a pipe holds 64
  ::close(reader);                                           // the writer fails and goes on
  file->flush();
  EXPECT_TRUE(becomes([&] { return count(FileStat::kWriteFailed) > 0; }));
}

TEST_F(LogFileTest, APipeWithoutAReaderIsOpenedLater) {
  const std::string path = folder_ + "/pipe";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  auto file = open(path);
  const int reader = ::open(path.c_str(), O_RDONLY | O_NONBLOCK);
  file->append("x\n");
  file->flush();
  char text[8] = {};
  EXPECT_TRUE(becomes([&] { return ::read(reader, text, sizeof text) == 2; }));
  ::close(reader);
}

TEST_F(LogFileTest, AFileThatCannotBeOpenedSaysWhy) {
  const auto file = files_.open(folder_ + "/none/a");
  ASSERT_FALSE(file.ok());
  EXPECT_EQ(file.status().message(), "cannot be opened: No such file or directory");
}

}  // namespace
}  // namespace outrider::accesslog
