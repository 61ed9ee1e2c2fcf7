#ifndef KEYSPHERE_KMIP_TTLV_BUFFER_H_
#define KEYSPHERE_KMIP_TTLV_BUFFER_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/types/span.h"

namespace keysphere::kmip::ttlv {

// The bytes of messages, which may hold keys: wiped wherever they leave, growing included.
// Move-only.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer();

  const uint8_t* data() const { return data_; }
  uint8_t* mutable_data() { return data_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  absl::Span<const uint8_t> span() const { return {data_, size_}; }

  // `count` bytes more, whose content the caller sets.
  uint8_t* Extend(size_t count) {
    if (count > capacity_ - size_) Grow(count);
    uint8_t* const begin = data_ + size_;
    size_ += count;
    return begin;
  }
  void Append(absl::Span<const uint8_t> bytes) {
    if (!bytes.empty()) memcpy(Extend(bytes.size()), bytes.data(), bytes.size());
  }
  // Takes back the last `count` bytes of Extend, which nobody has set: they are not wiped.
  void TakeBack(size_t count) { size_ -= count; }
  // Gives up the bytes from `size` on; size <= size().
  void Truncate(size_t size);
  // Gives up the first `count` bytes.
  void Consume(size_t count);
  // Keeps the memory.
  void Clear() { Truncate(0); }
  // Gives the memory back too.
  void Release();

 private:
  void Grow(size_t count);

  uint8_t* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace keysphere::kmip::ttlv

#endif  // KEYSPHERE_KMIP_TTLV_BUFFER_H_
