#!/bin/sh
# Makes a Debian machine ready for experiments on real kernels; Vagrant runs it as root. May be run again at any time.
#
#   guest.sh [DIRECTORY]      the testbed, /opt/testbed unless said otherwise; its owner runs the simulator
set -eu

root=${1:-/opt/testbed}
[ -x "$root/tb" ] || {
    echo "guest.sh: there is no testbed in $root: did 'vagrant rsync' fail?" >&2
    exit 1
}
owner=$(stat -c %U "$root")
home=$(getent passwd "$owner" | cut -d: -f6)
export DEBIAN_FRONTEND=noninteractive

# Updates in the background disturb measurements, and hold the package lock just when it is needed.
systemctl disable --now apt-daily.timer apt-daily-upgrade.timer unattended-upgrades.service >/dev/null 2>&1 || true
# mptcpd would configure the path manager that the experiments configure.
systemctl mask mptcp.service >/dev/null 2>&1 || true

# What the environment is made with; the tools of the experiments are installed by tb itself, below.
apt-get -o DPkg::Lock::Timeout=300 update -q
apt-get -o DPkg::Lock::Timeout=300 install -y -q --no-install-recommends \
    python3 python3-venv python3-dev gcc libc6-dev iproute2 kmod procps util-linux sudo

# Loaded on demand on most systems; a machine that forbids that gets them at boot.
modules="sch_netem sch_tbf sch_htb mptcp_diag tcp_bbr"
rm -f /etc/modules-load.d/mptcp-testbed.conf.new
for module in $modules; do
    echo "$module" >>/etc/modules-load.d/mptcp-testbed.conf.new
    modprobe "$module" 2>/dev/null || echo "guest.sh: this kernel has no module $module" >&2
done
mv /etc/modules-load.d/mptcp-testbed.conf.new /etc/modules-load.d/mptcp-testbed.conf

cd "$root"
sudo -u "$owner" -H ./tb setup
# As root tb installs the system packages that are missing; doctor's answer stands in Vagrant's output.
TB_NO_BUILD=1 PYTHONDONTWRITEBYTECODE=1 ./tb doctor ||
    echo "guest.sh: no experiments on real kernels here, see above" >&2

# A checkout that is sent later (--backend vagrant) finds this environment and these compiled stacks in place.
sudo -u "$owner" -H sh -eu -c '
    mkdir -p "$1/environments"
    digest=$(sha256sum "$2/requirements.lock" | cut -c 1-20)
    [ -e "$1/environments/$digest" ] || ln -s "$2/.venv" "$1/environments/$digest"
    [ -e "$1/build" ] || [ ! -d "$2/build" ] || ln -s "$2/build" "$1/build"
' sh "$home/.cache/mptcp-testbed" "$root"
