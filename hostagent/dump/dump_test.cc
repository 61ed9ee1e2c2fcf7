#include <elf.h>
#include <stdlib.h>

#include <cstring>

#include "common/status/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hostagent/dump/core.h"
#include "hostagent/dump/dump_file.h"
#include "hostagent/dump/fake_memory.h"

namespace keysphere::hostagent::dump {
namespace {

using status::HasReason;
using status::IsOk;
using ::testing::HasSubstr;
using ::testing::Not;

class DumpTest : public ::testing::Test {
 protected:
  DumpTest() {
    folder_ = ::testing::TempDir() + "/ks-dump-XXXXXX";
    KS_CHECK(mkdtemp(&folder_[0]) != nullptr);
    path_ = folder_ + "/one.kscore";
    header_.set_host("esx-1");
    header_.set_provider("kms");
    header_.set_key_id("k");
    header_.set_chunk_bytes(100);
  }

  void Write(const std::string& content, crypto::SecretKey key) {
    auto writer = DumpWriter::Create(files_, path_, header_, std::move(key));
    ASSERT_THAT(writer, IsOk());
    // In pieces that fit no chunk.
    for (size_t at = 0; at < content.size(); at += 37) {
      ASSERT_THAT((*writer)->Write(content.substr(at, 37)), IsOk());
    }
    const auto size = (*writer)->Finish();
    ASSERT_THAT(size, IsOk());
    EXPECT_EQ(*size, Raw().size());
  }
  absl::StatusOr<std::string> Read(const crypto::SecretKey& key) {
    std::string content;
    KS_RETURN_IF_ERROR(ReadDump(
        files_, path_, [&key](const DumpHeader&) { return key.Clone(); },
        [&content](absl::string_view piece) {
          content.append(piece.data(), piece.size());
          return absl::OkStatus();
        }));
    return content;
  }
  std::string Raw() { return files_.ReadFile(path_, 1 << 24).value(); }
  void Damage(const std::string& raw) {
    ASSERT_THAT(files_.WriteFileAtomically(path_, raw, 0600), IsOk());
  }

  const files::FileSystem files_;
  std::string folder_;
  std::string path_;
  DumpHeader header_;
};

std::string Pattern(size_t size) {
  std::string out;
  for (size_t i = 0; i < size; ++i) out.push_back(static_cast<char>('a' + i % 23));
  return out;
}

TEST_F(DumpTest, ChunksAreReadInWhateverOrder) {
  const crypto::SecretKey key = crypto::SecretKey::Random(32).value();
  Write(Pattern(250), key.Clone().value());
  const auto reader =
      DumpReader::Open(files_, path_, [&key](const DumpHeader&) { return key.Clone(); });
  ASSERT_THAT(reader, IsOk());
  EXPECT_EQ(reader->header().key_id(), "k");
  ASSERT_EQ(reader->chunks(), 3);
  EXPECT_THAT(reader->Chunk(2), status::IsOkAndHolds(Pattern(250).substr(200)));
  EXPECT_THAT(reader->Chunk(0), status::IsOkAndHolds(Pattern(100)));
  EXPECT_THAT(reader->Chunk(3), HasReason(v1::REASON_INVALID_ARGUMENT));
  EXPECT_THAT(reader->Chunk(~uint64_t{0}), HasReason(v1::REASON_INVALID_ARGUMENT));
  // Without its last chunk the one before is not the last.
  Damage(Raw().substr(0, Raw().size() - 50 - 32));
  const auto cut =
      DumpReader::Open(files_, path_, [&key](const DumpHeader&) { return key.Clone(); });
  ASSERT_THAT(cut, IsOk());
  EXPECT_THAT(cut->Chunk(0), IsOk());
  EXPECT_THAT(cut->Chunk(1), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
}

TEST_F(DumpTest, S103_OnlyTheKeyOpensADump) {
  const crypto::SecretKey key = crypto::SecretKey::Random(32).value();
  for (const size_t size : {0, 1, 99, 100, 101, 200, 1000}) {
    SCOPED_TRACE(size);
    Write(Pattern(size), key.Clone().value());
    EXPECT_THAT(Read(key), status::IsOkAndHolds(Pattern(size)));
    if (size >= 99) {
      EXPECT_THAT(Raw(), Not(HasSubstr(Pattern(23))));
    }
    EXPECT_THAT(Read(crypto::SecretKey::Random(32).value()),
                HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
  }
}

TEST_F(DumpTest, NoByteOfADumpCanBeChangedOrLeftOut) {
  const crypto::SecretKey key = crypto::SecretKey::Random(32).value();
  Write(Pattern(350), key.Clone().value());
  const std::string raw = Raw();
  for (size_t i = 0; i < raw.size(); i += 3) {
    std::string changed = raw;
    changed[i] ^= 1;
    Damage(changed);
    EXPECT_FALSE(Read(key).ok()) << i;
    Damage(raw.substr(0, i));
    EXPECT_FALSE(Read(key).ok()) << i;
  }
  // Cut off behind a whole chunk: the one before the last says that it is not the last.
  Damage(raw.substr(0, raw.size() - (4 + 28 + 50)));
  EXPECT_THAT(Read(key), HasReason(v1::REASON_CIPHERTEXT_CORRUPT));
}

TEST_F(DumpTest, WithoutAKeyItIsPlain) {
  header_.clear_key_id();
  Write(Pattern(250), crypto::SecretKey());
  EXPECT_THAT(Read(crypto::SecretKey()), status::IsOkAndHolds(Pattern(250)));
}

TEST_F(DumpTest, WhatIsNotFinishedLeavesNoFile) {
  {
    auto writer = DumpWriter::Create(files_, path_, header_, crypto::SecretKey());
    ASSERT_THAT(writer, IsOk());
    ASSERT_THAT((*writer)->Write(Pattern(500)), IsOk());
  }
  EXPECT_THAT(files_.List(folder_).value(), ::testing::IsEmpty());
}

TEST_F(DumpTest, ACoreIsElfWithASegmentForEachRun) {
  const std::string small(8192, 's');
  const std::string big = Pattern(3 << 20);
  const FakeMemory memory({{0x10000, small}, {0x7f0000000000, big}});
  auto core = Core::Take(memory);
  ASSERT_THAT(core, IsOk());
  header_.set_chunk_bytes(1 << 20);
  const crypto::SecretKey key = crypto::SecretKey::Random(32).value();
  auto writer = DumpWriter::Create(files_, path_, header_, key.Clone().value());
  ASSERT_THAT(writer, IsOk());
  int steps = 0;
  for (bool done = false; !done; ++steps) {
    const auto stepped = core->Step(writer->get());
    ASSERT_THAT(stepped, IsOk());
    done = *stepped;
  }
  EXPECT_GE(steps, 3);  // nobody waits for all of it
  ASSERT_THAT((*writer)->Finish(), IsOk());

  const std::string content = Read(key).value();
  Elf64_Ehdr file;
  ASSERT_GT(content.size(), sizeof file);
  std::memcpy(&file, content.data(), sizeof file);
  EXPECT_EQ(content.substr(0, 4),
            "\x7f"
            "ELF");
  EXPECT_EQ(file.e_type, ET_CORE);
  ASSERT_EQ(file.e_phnum, 2);
  Elf64_Phdr segments[2];
  std::memcpy(segments, content.data() + file.e_phoff, sizeof segments);
  EXPECT_EQ(segments[0].p_vaddr, 0x10000u);
  EXPECT_EQ(content.substr(segments[0].p_offset, segments[0].p_filesz), small);
  EXPECT_EQ(segments[1].p_vaddr, 0x7f0000000000u);
  EXPECT_EQ(content.substr(segments[1].p_offset, segments[1].p_filesz), big);
}

}  // namespace
}  // namespace keysphere::hostagent::dump
