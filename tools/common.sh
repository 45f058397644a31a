# What quickstart and test share. Sourced, not run.

say() { printf '%s\n' "$*"; }
fail() {
    printf '\n%s: %s\n' "$(basename "$0")" "$1" >&2
    [ -z "${2:-}" ] || printf '  %s\n' "$2" >&2
    exit 3
}

# Runs a command as root: directly, or by sudo for whoever may.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "this needs root for: $*" "Run as root, or install sudo."
    fi
}

# Swift 6.1 or later.
check_swift() {
    command -v swift >/dev/null || fail "Swift is not installed" "See https://www.swift.org/install/linux/debian/12/"
    local version
    version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\.[0-9]*\).*/\1/p' | head -n 1)
    case "$version" in
        6.0 | [0-5].*) fail "Swift $version is too old" "6.1 or later is needed: https://www.swift.org/install/linux/debian/12/" ;;
        "") fail "swift --version does not answer" "Reinstall the toolchain." ;;
    esac
    say "Swift $version"
}

# Debian packages that are not there yet.
install_packages() {
    local missing=()
    local name
    for name in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || fail "missing: ${missing[*]}" "This is no Debian: install them by your system's own means."
    say "Installing: ${missing[*]}"
    local log
    log=$(mktemp)
    if ! { as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        fail "apt-get could not install: ${missing[*]}" "The whole log is in $log"
    fi
    rm -f "$log"
}

# What the tool itself needs.
runtime_packages=(softhsm2 libsofthsm2-dev pcscd libpcsclite1 libpcsclite-dev vsmartcard-vpcd libssl-dev libsqlite3-dev pkg-config)

# Whether a PC/SC service answers with the virtual reader.
virtual_reader_is_there() {
    "$1" reader list --json 2>/dev/null | grep -q 'Virtual PCD'
}

# Waits until a command succeeds, at most so many seconds.
wait_until() {
    local limit=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$limit" ] || return 1
        read -r -t 0.1 <> <(:) || true
    done
}

# A running pcscd that knows the virtual reader: restarted once if its driver is new to it, started where nothing
# manages services.
ensure_virtual_reader() {
    local ecard=$1
    if virtual_reader_is_there "$ecard"; then
        say "pcscd runs with the virtual reader."
        return 0
    fi
    if [ -d /run/systemd/system ]; then
        say "Restarting pcscd, so that it loads the virtual reader's driver."
        as_root systemctl restart pcscd.socket pcscd.service
    else
        if [ -e /run/pcscd/pcscd.pid ] && as_root kill -0 "$(cat /run/pcscd/pcscd.pid)" 2>/dev/null; then
            say "Restarting pcscd, so that it loads the virtual reader's driver."
            local old
            old=$(cat /run/pcscd/pcscd.pid)
            as_root kill "$old"
            wait_until 10 process_is_gone "$old" || fail "pcscd (process $old) does not stop"
        else
            say "Starting pcscd."
        fi
        as_root mkdir -p /run/pcscd
        as_root pcscd
    fi
    wait_until 15 virtual_reader_is_there "$ecard" ||
        fail "pcscd does not show the virtual reader" "Look at: pcscd --foreground --debug, and at /etc/reader.conf.d/vpcd"
    say "pcscd runs with the virtual reader."
}

process_is_gone() { ! as_root kill -0 "$1" 2>/dev/null; }
