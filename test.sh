#!/usr/bin/env bash
# Installs what the tests need, and runs all of them.
#   ./test.sh              everything
#   GRANTRY_SEEDS=1000000 GRANTRY_MODEL=full GRANTRY_KILL_ROUNDS=2000 GRANTRY_PAUSE_ROUNDS=500 \
#   GRANTRY_REDIS_KILL_ROUNDS=200 GRANTRY_FAILOVER_ROUNDS=200 ./test.sh
#                          the long forms; core/tests/README.md has each by itself
set -euo pipefail
cd "$(dirname "$0")"
source .ci/need.sh

need cc build-essential
need curl curl ca-certificates
need redis-server redis-server
need ip iproute2
need openssl openssl

# The published Python client of the hosted service, against which the HTTP surface is tested.
venv=target/python-client
pip_install "$venv" 'appnigma-integrations-client==0.1.3'
export GRANTRY_TEST_PYTHON="$PWD/$venv/bin/python"

cargo test --workspace --all-features --locked "$@"
