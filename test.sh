#!/usr/bin/env bash
# Installs what the tests need, and runs all of them.
#   ./test.sh              everything
#   GRANTRY_SEEDS=1000000 GRANTRY_MODEL=full GRANTRY_KILL_ROUNDS=2000 GRANTRY_PAUSE_ROUNDS=500 \
#   GRANTRY_REDIS_KILL_ROUNDS=200 GRANTRY_FAILOVER_ROUNDS=200 ./test.sh
#                          the long forms; core/tests/README.md has each by itself
set -euo pipefail
cd "$(dirname "$0")"

need() { # need COMMAND PACKAGE...: installs a system package if a command is missing
    local command=$1
    shift
    command -v "$command" >/dev/null && return
    if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
        echo "test.sh: '$command' is missing; install it (Debian: apt-get install $*) and run this again" >&2
        exit 1
    fi
    DEBIAN_FRONTEND=noninteractive apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y "$@"
}

need cc build-essential
need python3 python3 python3-venv
need curl curl ca-certificates
need redis-server redis-server
need ip iproute2
need openssl openssl

# The published Python client of the hosted service, against which the HTTP surface is tested.
venv=target/python-client
if [ ! -e "$venv/ready-0.1.3" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv" 2>/dev/null || { need ensurepip-missing python3-venv; python3 -m venv "$venv"; }
    "$venv/bin/pip" install --quiet --disable-pip-version-check 'appnigma-integrations-client==0.1.3'
    touch "$venv/ready-0.1.3"
fi
export GRANTRY_TEST_PYTHON="$PWD/$venv/bin/python"

cargo test --workspace --all-features --locked "$@"
