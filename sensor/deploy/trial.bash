# Shared by the trials of the package (try-install, try-package): what is needed, the Debian, one line for each thing looked at.
# To be sourced by bash, from the repository's root.
# shellcheck shell=bash

captures=tests/captures
passed=0
failed=0

missing() {
    echo "${0##*/}: $1" >&2
    exit 69
}

usage() {
    echo "usage: ${0##*/} [PACKAGE.deb]" >&2
    exit 64
}

# The package that was named, or else the newest one.
chosen_package() {
    case ${1:-} in -*) usage ;; esac
    [ $# -le 1 ] || usage
    local package=${1:-}
    [ -n "$package" ] || package=$(find "${CARGO_TARGET_DIR:-target}/debian" -name 'vigie_*.deb' -printf '%T@ %p\n' 2>/dev/null |
        sort -n | tail -n 1 | cut -d ' ' -f 2-)
    [ -e "$package" ] || missing "there is no package ${package:-in target/debian}; make it with sensor/deploy/build-deb"
    echo "$package"
}

# The release to try on: the one that is named, this machine's, or Debian 12.
chosen_suite() {
    local suite=${VIGIE_TRY_SUITE:-}
    # shellcheck source=/dev/null
    [ -n "$suite" ] || suite=$(. /etc/os-release && [ "$ID" = debian ] && echo "${VERSION_CODENAME:-}" || true)
    echo "${suite:-bookworm}"
}

# The mirror that this machine takes its packages of a release from; nothing where that cannot be told.
own_mirror() {
    # shellcheck disable=SC2016 # for apt to expand
    apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        awk -v suite="$1" '!found && $1 == suite && $2 == "main" { print $3; found = 1 }'
}

# Makes the smallest Debian of a release in a folder, with these packages besides.
make_debian() {
    local suite=$1 folder=$2 packages=${3:-} mirror
    mirror=${VIGIE_TRY_MIRROR:-$(own_mirror "$suite")}
    echo "making a Debian ($suite) in $folder"
    # shellcheck disable=SC2086
    debootstrap --variant=minbase ${packages:+--include="$packages"} "$suite" "$folder" $mirror >"$folder.log" 2>&1 ||
        missing "debootstrap failed; see $folder.log, and perhaps set VIGIE_TRY_MIRROR"
    rm -f "$folder"/var/cache/apt/archives/*.deb
    # debootstrap may leave them mounted: whoever removes the folder must not walk into them.
    local mounted
    for mounted in proc sys; do
        ! mountpoint --quiet "$folder/$mounted" || umount "$folder/$mounted"
    done
}

# Says whether a command holds; if not, what it said. It runs apart, so that it ends at its first failing line.
check() {
    local what=$1 result=0
    shift
    (
        set -euo pipefail
        "$@"
    ) >"$work/said" 2>&1 &
    wait $! || result=$?
    if [ "$result" = 0 ]; then
        passed=$((passed + 1))
        echo "ok      $what$(sed -n 's/^note: /: /p' "$work/said" | tr '\n' ' ')"
    else
        failed=$((failed + 1))
        echo "FAILED  $what"
        sed 's/^/        | /' "$work/said" | tail -n 40
    fi
}

# Holds if a command does not. (`!` would not end a check.)
refused() {
    if "$@"; then
        echo "went well, and should not: $*"
        return 1
    fi
}

# Asks a command again and again for so many seconds until it holds.
eventually() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        if ((SECONDS >= deadline)); then
            echo "not in time: $*"
            return 1
        fi
        sleep 0.2
    done
}

# Counts the alerts of flows in a text of events: those that belong to an incident.
flow_alerts() { grep -c '"event_type":"alert".*"gid":1,' || true; }

same() {
    [ "$1" = "$2" ] || {
        echo "is:        $1"
        echo "should be: $2"
        return 1
    }
}

fail() {
    echo "$1"
    tail -n 15 "$2"
    return 1
}

lints() { lintian --allow-root --fail-on error,warning "$1"; }

check_lints() {
    if command -v lintian >/dev/null; then
        check "lintian finds no error and no warning" lints "$1"
    else
        echo "skipped lintian: it is not installed"
    fi
}

# Says how it ended.
conclude() {
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ]
}
