#include "kmip/ttlv/buffer.h"

#include <string.h>

#include <algorithm>
#include <utility>

#include "common/status/status.h"

namespace keysphere::kmip::ttlv {
namespace {

constexpr size_t kFirstCapacity = 512;

}  // namespace

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      capacity_(std::exchange(other.capacity_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  if (this == &other) return *this;
  Release();
  data_ = std::exchange(other.data_, nullptr);
  size_ = std::exchange(other.size_, 0);
  capacity_ = std::exchange(other.capacity_, 0);
  return *this;
}

Buffer::~Buffer() { Release(); }

void Buffer::Release() {
  Truncate(0);
  delete[] data_;
  data_ = nullptr;
  capacity_ = 0;
}

void Buffer::Truncate(size_t size) {
  KS_CHECK(size <= size_);
  if (size_ > size) explicit_bzero(data_ + size, size_ - size);
  size_ = size;
}

void Buffer::Consume(size_t count) {
  KS_CHECK(count <= size_);
  if (count == 0) return;
  memmove(data_, data_ + count, size_ - count);
  Truncate(size_ - count);
}

void Buffer::Grow(size_t count) {
  const size_t capacity = std::max({size_ + count, capacity_ * 2, kFirstCapacity});
  uint8_t* const grown = new uint8_t[capacity];
  if (size_ > 0) {
    memcpy(grown, data_, size_);
    explicit_bzero(data_, size_);
  }
  delete[] data_;
  data_ = grown;
  capacity_ = capacity;
}

}  // namespace keysphere::kmip::ttlv
