# SPDX-License-Identifier: Apache-2.0
# Shared by the scripts in tools/: installing packages and building out of tree.

top=$(cd "$(dirname "$0")/.." && pwd)

say() { printf '\n== %s\n' "$*"; }

need_root() {
	[ "$(id -u)" = 0 ] || { echo "$0: must run as root (sudo $0)" >&2; exit 1; }
}

# install_packages NAME...: only what is missing, through the distribution's own package manager.
install_packages() {
	missing=
	for p in "$@"; do
		dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed || missing="$missing $p"
	done
	[ -n "$missing" ] || return 0
	say "installing:$missing"
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq
	# shellcheck disable=SC2086
	apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

# docker_client DIR: without docker's command on the PATH, Debian's is unpacked into DIR, not installed: its daemon is not wanted.
docker_client() {
	command -v docker >/dev/null || [ -x "$1/usr/bin/docker" ] || (
		rm -rf "$1.new"
		mkdir -p "$1.new"
		cd "$1.new"
		apt-get update -qq
		apt-get -qq -o APT::Sandbox::User=root download docker.io
		dpkg-deb -x docker.io_*.deb .
		mv "$1.new" "$1"
	)
}

# build_tree DIR CONFIGURE-OPTION...: configures (when needed) and builds everything into DIR.
build_tree() {
	dir=$1
	shift
	if [ ! -x "$top/configure" ] || [ "$top/configure.ac" -nt "$top/configure" ]; then
		(cd "$top" && autoreconf -fi >/dev/null)
	fi
	mkdir -p "$dir"
	if [ ! -f "$dir/Makefile" ] || [ "$top/configure" -nt "$dir/config.status" ]; then
		(cd "$dir" && "$top/configure" -q "$@")
	fi
	make -C "$dir" -s -j"$(nproc)"
}

# debian_kernel DIR: Debian's own kernel (for virtual machines), unpacked in DIR; prints the name of its package, which is its directory's.
debian_kernel() {
	local deb
	deb=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ { print $2; exit }')
	[ -n "$deb" ] || return 1
	mkdir -p "$1"
	if [ ! -d "$1/$deb" ]; then
		(cd "$1" && apt-get download -qq -o APT::Sandbox::User=root "$deb" >&2 && dpkg-deb -x "$deb"_*.deb "$deb.new" && rm "$deb"_*.deb && mv "$deb.new" "$deb") || return 1
	fi
	echo "$deb"
}
