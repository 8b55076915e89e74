# SPDX-License-Identifier: Apache-2.0
# For tests with registries: Debian's docker-registry on loopback of the test's own namespace.
# shellcheck shell=bash
for b in docker-registry skopeo umoci htpasswd openssl; do
	command -v $b >/dev/null || skip "needs $b (tools/packages test names its package)"
done
registry_pids=
export SSL_CERT_DIR= no_proxy='*'
unset SSL_CERT_DIR http_proxy https_proxy HTTP_PROXY HTTPS_PROXY
# skopeo and umoci keep their things in the test's folder.
export TMPDIR=$tmp HOME=$tmp/home XDG_RUNTIME_DIR=$tmp/home
mkdir -p "$tmp/home"
mkdir -p "$tmp/home/.config/containers"
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >"$tmp/policy.json"
# --policy is global, the rest belongs to the command
skop() { skopeo --policy "$tmp/policy.json" "$@"; }

# registry NAME PORT [EXTRA YAML]: starts one; its files lie in $tmp/NAME.
registry() {
	local name=$1 port=$2
	mkdir -p "$tmp/$name"
	cat >"$tmp/$name.yml" <<YML
version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: $tmp/$name}
  delete: {enabled: true}
http:
  addr: 127.0.0.1:$port
${3-}
YML
	docker-registry serve "$tmp/$name.yml" >"$tmp/$name.log" 2>&1 </dev/null &
	registry_pids="$registry_pids $!"
	until_ok 10 sh -c "ss -Hltn 'sport = :$port' | grep -q ." || { cat "$tmp/$name.log"; exit 1; }
}

registries_stop() {
	for p in $registry_pids; do
		kill "$p" 2>/dev/null || true
		wait "$p" 2>/dev/null || true
	done
	registry_pids=
}
trap 'rc=$?; registries_stop; (exit $rc); finish' EXIT
