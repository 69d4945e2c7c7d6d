# How test.sh and .ci/run install what they need. To be sourced.

need() { # need COMMAND PACKAGE...: installs a system package if a command is missing
    local command=$1
    shift
    command -v "$command" >/dev/null && return
    if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
        echo "'$command' is missing; install it (Debian: apt-get install $*) and run this again" >&2
        exit 1
    fi
    DEBIAN_FRONTEND=noninteractive apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y "$@"
}

pip_install() { # pip_install FOLDER ARGUMENT...: runs `pip install` in an environment of its own, unless it was done before
    local folder=$1 argument ready
    shift
    ready=$(for argument in "$@"; do cat "$argument" 2>/dev/null || echo "$argument"; done | cksum | cut -d ' ' -f 1)
    ready="$folder/ready-$ready"
    [ -e "$ready" ] && return
    need python3 python3 python3-venv
    rm -rf "$folder"
    python3 -m venv "$folder" 2>/dev/null || { need ensurepip-missing python3-venv; python3 -m venv "$folder"; }
    "$folder/bin/pip" install --quiet --disable-pip-version-check "$@"
    touch "$ready"
}
