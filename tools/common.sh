# shellcheck shell=bash
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

# Debian packages of which only the programs are wanted: whoever uses them starts them on ports of their own. Debian would start
# their services at the installation and at each boot, so they are masked, or without systemd not started.
install_without_services() {
    local missing=()
    local name
    for name in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ -d /run/systemd/system ]; then
        as_root systemctl mask --quiet "${missing[@]/%/.service}"
        install_packages "${missing[@]}"
        say "Their services are masked: ${missing[*]}. 'systemctl unmask' lets them start."
    elif [ -e /usr/sbin/policy-rc.d ]; then
        install_packages "${missing[@]}"
    else
        # invoke-rc.d(8): 101 forbids the action.
        printf '#!/bin/sh\nexit 101\n' | as_root tee /usr/sbin/policy-rc.d >/dev/null
        as_root chmod 755 /usr/sbin/policy-rc.d
        # A failed installation ends this shell alone, and the policy goes in any case.
        local status=0
        (install_packages "${missing[@]}") || status=$?
        as_root rm -f /usr/sbin/policy-rc.d
        [ "$status" -eq 0 ] || exit "$status"
    fi
}

# What the tool itself needs.
# shellcheck disable=SC2034
runtime_packages=(softhsm2 libsofthsm2-dev pcscd libpcsclite1 libpcsclite-dev vsmartcard-vpcd libssl-dev libcurl4-openssl-dev libsqlite3-dev pkg-config)

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

# The process of pcscd as it wrote it down itself; nothing when it does not run.
pcscd_process() {
    local process
    process=$(tr -d '\0' 2>/dev/null </run/pcscd/pcscd.pid) || return 0
    # Its folder in /proc is there for everybody to see; kill -0 would need root.
    [ -n "$process" ] && [ -d "/proc/$process" ] || return 0
    printf '%s\n' "$process"
}

# Whether pcscd runs but does not let this person in. Debian 12's lets everybody; one built with polkit may not.
is_refused_by_pcscd() { "$1" reader list 2>&1 >/dev/null | grep -q SCARD_W_SECURITY_VIOLATION; }

# A running pcscd that knows the virtual reader: restarted once if its driver is new to it, started where nothing
# manages services.
ensure_virtual_reader() {
    local ecard=$1
    if virtual_reader_is_there "$ecard"; then
        say "pcscd runs with the virtual reader."
        return 0
    fi
    ! is_refused_by_pcscd "$ecard" ||
        fail "pcscd does not let $(id -un) use readers" "Its polkit rules decide that: see 'Readers' in docs/operations.md."
    if [ -d /run/systemd/system ]; then
        say "Restarting pcscd, so that it loads the virtual reader's driver."
        as_root systemctl restart pcscd.socket pcscd.service
    else
        local old
        old=$(pcscd_process)
        if [ -n "$old" ]; then
            say "Restarting pcscd, so that it loads the virtual reader's driver."
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

process_is_gone() { [ ! -d "/proc/$1" ]; }
