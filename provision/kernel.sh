#!/bin/sh
# Installs a Debian kernel and makes it the one that is booted next; Vagrant runs it as root and then reboots.
#
#   kernel.sh 6.12              the newest package of that version in the release, its updates and its backports
#   kernel.sh newest            the newest of all
#   kernel.sh --check 6.12      ends with 1 unless that is what runs
set -eu
export DEBIAN_FRONTEND=noninteractive

die() {
    echo "kernel.sh: $*" >&2
    exit 1
}

check=
if [ "${1:-}" = --check ]; then
    check=1
    shift
fi
version=${1:-}
case $version in
newest) ;;
*[!0-9.]* | '' | .* | *.) die "'$version' is no version: 6.12, 6.12.43 or newest" ;;
esac
wanted=/var/lib/mptcp-testbed-kernel # the release that was chosen

runs() {
    case $(uname -r) in
    "$version" | "$version".* | "$version"-* | "$version"+*) return 0 ;;
    *) [ "$version" = newest ] && [ "$(cat "$wanted" 2>/dev/null)" = "$(uname -r)" ] ;;
    esac
}

if [ -n "$check" ]; then
    runs || die "$(uname -r) runs, not $version: the boot loader did not take it"
    exit 0
fi
if [ "$version" != newest ] && runs; then exit 0; fi

# Backports come from where the release itself comes from.
# shellcheck source=/dev/null
. /etc/os-release
backports=/etc/apt/sources.list.d/mptcp-testbed-backports.list
if ! apt-cache policy | grep -q "n=$VERSION_CODENAME-backports"; then
    mirror=$(apt-cache policy | sed -n "s|^ *[0-9]* \(https*://[^ ]*\) $VERSION_CODENAME/main .*|\1|p" | head -n 1)
    [ -n "$mirror" ] || die "no mirror of $VERSION_CODENAME is configured: run apt-get update"
    echo "deb $mirror $VERSION_CODENAME-backports main" >"$backports"
fi
apt-get -o DPkg::Lock::Timeout=300 update -q || {
    rm -f "$backports"
    die "apt-get update fails, see above"
}

architecture=$(dpkg --print-architecture)
pattern='[0-9][0-9.]*'
[ "$version" = newest ] || pattern="$(printf %s "$version" | sed 's/\./\\./g')(\\.[0-9]+)*"
# not the variants (cloud-, rt-, -unsigned, -dbg): cloud kernels have no VirtualBox drivers
package=$(apt-cache search --names-only "^linux-image-$pattern([-+~][0-9a-z.+~]+)*-$architecture\$" | cut -d ' ' -f 1 |
    grep -Ev -- '-(cloud|rt|unsigned|dbg)-?' | sort -V | tail -n 1)
[ -n "$package" ] || {
    known=$(apt-cache search --names-only "^linux-image-[0-9].*-$architecture\$" |
        sed 's/linux-image-\([0-9]*\.[0-9]*\).*/\1/' | sort -Vu)
    # shellcheck disable=SC2086 # a list of words is meant
    die "Debian $VERSION_CODENAME has no kernel $version for $architecture; there are:" $known
}
apt-get -o DPkg::Lock::Timeout=300 install -y -q --no-install-recommends "$package"
release=${package#linux-image-}
printf '%s\n' "$release" >"$wanted"

# The highest version is booted by itself; a lower one has to be named, by the ids of the generated menu.
if [ -d /etc/default/grub.d ] || [ -e /etc/default/grub ]; then
    mkdir -p /etc/default/grub.d
    setting=/etc/default/grub.d/mptcp-testbed.cfg
    rm -f "$setting"
    update-grub
    submenu=$(grep -o 'gnulinux-advanced-[^ '"'"']*' /boot/grub/grub.cfg | head -n 1)
    entry=$(grep -o "gnulinux-$release-advanced-[^ ']*" /boot/grub/grub.cfg | head -n 1)
    [ -n "$entry" ] || die "the boot menu has no entry of $release"
    printf 'GRUB_DEFAULT="%s>%s"\n' "$submenu" "$entry" >"$setting"
    update-grub
fi
