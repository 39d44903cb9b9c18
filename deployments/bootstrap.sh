#!/usr/bin/env bash
# Sets up all that Ferry needs on a Debian or Ubuntu machine: distribution packages, then .venv from requirements.lock.
# Run again, it does only what is missing. Usage: deployments/bootstrap.sh [--no-packages | --also PACKAGE...]
set -euo pipefail
cd "$(dirname "$0")/.."

# The appliance that looks into guests holds the tools that are installed here, so xfsprogs, btrfs-progs
# and lvm2 are what lets us read such guests; it boots the distribution's kernel.
packages=(
  python3-venv python3-guestfs libguestfs-xfs qemu-utils qemu-system-x86 ovmf
  busybox-static e2fsprogs xfsprogs btrfs-progs lvm2 fdisk util-linux zstd
  grub-common grub-pc-bin ca-certificates
)

say() { printf 'set-up: %s\n' "$*" >&2; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else say "cannot become root to run: $*"; say "run it as root yourself, then try again"; exit 1
  fi
}

is_installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

install_packages() {
  # One kernel of the distribution with its modules; the cloud flavour is a third of the size of the full one.
  if ! compgen -G '/boot/vmlinuz-*' >/dev/null; then
    case "$(. /etc/os-release && echo "$ID")" in
      ubuntu) packages+=(linux-image-virtual) ;;
      *) packages+=("linux-image-cloud-$(dpkg --print-architecture)") ;;
    esac
  fi
  local missing=()
  for package in "${packages[@]}"; do is_installed "$package" || missing+=("$package"); done
  if [ "${#missing[@]}" -gt 0 ]; then
    say "installing ${missing[*]}"
    as_root apt-get update -q
    # RUNLEVEL=1: a service among them (nginx, for the benchmarks) is not started.
    as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -qy --no-install-recommends "${missing[@]}"
  fi
  # Ubuntu lets only root read the kernel, and the appliance needs to read it (Launchpad bug 759725).
  for kernel in /boot/vmlinuz-*; do
    if [ ! -r "$kernel" ]; then as_root chmod a+r "$kernel"; fi
  done
}

make_environment() {
  local stamp=.venv/.set-up-from wanted
  wanted=$(cat requirements.lock pyproject.toml deployments/bootstrap.sh | sha256sum)
  if [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && .venv/bin/python -c 'import guestfs, prefect' 2>/dev/null; then
    return
  fi
  say "making .venv from requirements.lock"
  rm -rf .venv
  # guestfs is a C extension for the distribution's own interpreter.
  /usr/bin/python3 -m venv .venv
  # Only guestfs comes in from the distribution. With --system-site-packages the rest of its Python
  # packages would come too, and some do not go with ours: the ECS SDK imports pyOpenSSL wherever it
  # finds one, and Debian 12's fails on import beside a current cryptography.
  local site
  site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  /usr/bin/python3 - "$site" <<'PYTHON'
import pathlib, sys
import guestfs, libguestfsmod
for module in (guestfs, libguestfsmod):
    path = pathlib.Path(module.__file__)
    (pathlib.Path(sys.argv[1]) / path.name).symlink_to(path)
PYTHON
  .venv/bin/python -m pip install --quiet --use-pep517 --require-hashes -r requirements.lock
  .venv/bin/python -m pip install --quiet --no-deps --editable .
  printf '%s\n' "$wanted" > "$stamp"
}

if [ "${1:-}" = --also ]; then packages+=("${@:2}"); fi
if [ "${1:-}" != --no-packages ]; then install_packages; fi
make_environment
