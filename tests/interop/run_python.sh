#!/usr/bin/env bash
# Runs a Python test with the system's interpreter, which has PyKMIP.
set -euo pipefail
PYTHONPATH=$PWD exec /usr/bin/python3 "$@"
