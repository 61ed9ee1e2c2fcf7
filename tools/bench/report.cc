#include "tools/bench/report.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"

namespace keysphere::bench {
namespace {

std::string Number(absl::optional<double> value) {
  return value.has_value() ? absl::StrCat(*value) : "null";
}

// Metrics and units are ours: they hold neither quotes nor backslashes.
std::string Text(const std::string& text) { return absl::StrCat("\"", text, "\""); }

}  // namespace

void Print(const Row& row) {
  const std::string line =
      absl::StrCat("{\"metric\":", Text(row.metric), ",\"unit\":", Text(row.unit),
                   ",\"ours\":", Number(row.ours), ",\"reference\":", Number(row.reference),
                   ",\"ratio\":", Number(row.ratio), ",\"at_least\":", Number(row.at_least),
                   ",\"at_most\":", Number(row.at_most), "}");
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

Row Compare(std::string metric, std::string unit, const std::vector<double>& values,
            const std::vector<double>& references) {
  Row row;
  row.metric = std::move(metric);
  row.unit = std::move(unit);
  row.ours = Median(values);
  row.reference = Median(references);
  std::vector<double> ratios;
  for (size_t i = 0; i < std::min(values.size(), references.size()); ++i) {
    if (references[i] > 0) ratios.push_back(values[i] / references[i]);
  }
  row.ratio = Median(ratios);
  return row;
}

}  // namespace keysphere::bench
