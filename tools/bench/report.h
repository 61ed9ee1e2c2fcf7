#ifndef KEYSPHERE_TOOLS_BENCH_REPORT_H_
#define KEYSPHERE_TOOLS_BENCH_REPORT_H_

#include <string>
#include <vector>

#include "absl/types/optional.h"

namespace keysphere::bench {

// A line of the table. What has no reference is judged by its own value, else by the ratio.
struct Row {
  std::string metric;
  std::string unit;
  double ours = 0;
  absl::optional<double> reference;
  absl::optional<double> ratio;     // the median over rounds of ours : reference
  absl::optional<double> at_least;  // limits; none: told for comparison
  absl::optional<double> at_most;
};

// One JSON object a line on standard output: tools/bench/run makes table and file out of them.
void Print(const Row& row);

double Median(std::vector<double> values);
// The row of measurements taken in turn: values[i] beside references[i].
Row Compare(std::string metric, std::string unit, const std::vector<double>& values,
            const std::vector<double>& references);

}  // namespace keysphere::bench

#endif  // KEYSPHERE_TOOLS_BENCH_REPORT_H_
