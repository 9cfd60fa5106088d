#!/usr/bin/env bash
# Installs SLURM and what its tests need, on Debian; nothing is started as a service.
# 10 MB and 10 s; with "accounting" also slurmdbd and MariaDB: 200 MB and 20 s more. Further
# arguments are packages that other tests need.
set -euo pipefail

packages=(slurmctld slurmd slurm-client munge)
if [ "${1:-}" = accounting ]; then
  shift
  packages+=(slurmdbd mariadb-server)
fi
packages+=("$@")

# Exit status 101 forbids the packages to start their services (deb-systemd-invoke, invoke-rc.d).
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' > "$policy"
  chmod +x "$policy"
  trap 'rm -f "$policy"' EXIT
fi

apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
slurmctld -V
