# SPDX-License-Identifier: Apache-2.0
# The recipes of tools/mkimages: want_NAME prints the packages, make_NAME fills $work/NAME and writes the archive.
# shellcheck shell=bash disable=SC2154

path='"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]'

# busybox and the skeleton under every image; users that the programs above it run as.
base() {
	local b=$work/busybox d a
	mkdir -p "$b"
	for d in dev etc home proc root run sys tmp usr/bin usr/sbin usr/lib usr/lib64 var/cache var/lib var/log var/spool var/tmp; do
		mkdir -p "$b/$d"
	done
	for d in bin sbin lib lib64; do ln -s "usr/$d" "$b/$d"; done
	ln -s ../run "$b/var/run"
	chmod 1777 "$b/tmp" "$b/var/tmp"
	chmod 700 "$b/root"
	cp "$work/busybox.all/usr/bin/busybox" "$b/usr/bin/busybox"
	chmod 755 "$b/usr/bin/busybox"
	for a in $("$b/usr/bin/busybox" --list-full); do
		case $a in
		usr/bin/busybox | bin/busybox | linuxrc) continue ;;
		usr/*) ;;
		*) a=usr/$a ;;
		esac
		ln -sf /usr/bin/busybox "$b/$a"
	done
	cat >"$b/etc/passwd" <<-TEXT
		root:x:0:0:root:/root:/bin/sh
		daemon:x:1:1:daemon:/usr/sbin:/bin/false
		www-data:x:33:33:www-data:/var/www:/bin/false
		nginx:x:101:101:nginx:/nonexistent:/bin/false
		redis:x:102:102:redis:/data:/bin/false
		postgres:x:103:103:postgres:/var/lib/postgresql:/bin/sh
		nobody:x:65534:65534:nobody:/home:/bin/false
	TEXT
	cat >"$b/etc/group" <<-TEXT
		root:x:0:
		daemon:x:1:
		tty:x:5:
		www-data:x:33:
		nginx:x:101:
		redis:x:102:
		postgres:x:103:
		nogroup:x:65534:
	TEXT
	printf 'root:*:::::::\nnobody:*:::::::\n' >"$b/etc/shadow"
	chmod 600 "$b/etc/shadow"
	printf 'hosts: files dns\npasswd: files\ngroup: files\n' >"$b/etc/nsswitch.conf"
	layer_tar "$b" "$work/base.tar"
}

want_busybox() { echo busybox-static; }
make_busybox() { write busybox "$path,\"Cmd\":[\"sh\"]" busybox:latest; }

want_nginx() { echo nginx nginx-common; }
make_nginx() {
	local l=$work/nginx
	take nginx usr/sbin/nginx etc/nginx/mime.types
	mkdir -p "$l/etc/nginx/conf.d" "$l/usr/share/nginx/html" "$l/var/lib/nginx" "$l/var/log/nginx"
	cat >"$l/etc/nginx/nginx.conf" <<-'TEXT'
		user nginx;
		worker_processes auto;
		error_log /var/log/nginx/error.log notice;
		pid /run/nginx.pid;

		events {
			worker_connections 1024;
		}

		http {
			include /etc/nginx/mime.types;
			default_type application/octet-stream;
			log_format main '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"';
			access_log /var/log/nginx/access.log main;
			sendfile on;
			keepalive_timeout 65;
			include /etc/nginx/conf.d/*.conf;
		}
	TEXT
	cat >"$l/etc/nginx/conf.d/default.conf" <<-'TEXT'
		server {
			listen 80;
			server_name localhost;
			location / {
				root /usr/share/nginx/html;
				index index.html;
			}
		}
	TEXT
	cat >"$l/usr/share/nginx/html/index.html" <<-'TEXT'
		<!DOCTYPE html>
		<html>
		<head><title>Welcome to nginx!</title></head>
		<body>
		<h1>Welcome to nginx!</h1>
		<p>This page comes out of a container.</p>
		</body>
		</html>
	TEXT
	ln -s /dev/stdout "$l/var/log/nginx/access.log"
	ln -s /dev/stderr "$l/var/log/nginx/error.log"
	libraries nginx
	write nginx "$path,\"Cmd\":[\"nginx\",\"-g\",\"daemon off;\"],\"ExposedPorts\":{\"80/tcp\":{}},\"StopSignal\":\"SIGQUIT\",\"Labels\":{\"maintainer\":\"kedge\"}" \
		nginx:alpine-like nginx:latest
}

want_redis() { echo redis-server redis-tools util-linux; }
make_redis() {
	take redis usr/bin/setpriv usr/bin/redis-server usr/bin/redis-check-rdb usr/bin/redis-cli usr/bin/redis-benchmark
	mkdir -p "$work/redis/data"
	# The volume belongs to whom it is mounted for; the server drops root itself.
	mkdir -p "$work/redis/usr/local/bin"
	cat >"$work/redis/usr/local/bin/docker-entrypoint.sh" <<-'TEXT'
		#!/bin/sh
		set -e
		case $1 in -*|*.conf) set -- redis-server "$@" ;; esac
		if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
			chown -R redis .
			exec /usr/bin/setpriv --reuid 102 --regid 102 --clear-groups "$@"
		fi
		exec "$@"
	TEXT
	chmod 755 "$work/redis/usr/local/bin/docker-entrypoint.sh"
	libraries redis
	write redis "$path,\"Entrypoint\":[\"docker-entrypoint.sh\"],\"Cmd\":[\"redis-server\",\"--protected-mode\",\"no\"],\"ExposedPorts\":{\"6379/tcp\":{}},\"Volumes\":{\"/data\":{}},\"WorkingDir\":\"/data\"" \
		redis:latest
}

want_iperf3() { echo iperf3; }
make_iperf3() {
	take iperf3 usr/bin/iperf3
	libraries iperf3
	write iperf3 "$path,\"Entrypoint\":[\"iperf3\"],\"Cmd\":[\"-s\"],\"ExposedPorts\":{\"5201/tcp\":{},\"5201/udp\":{}}" iperf3:latest
}

# --jit is built in but never loaded: its LLVM would be four times the server.
want_postgres() { echo postgresql-15 postgresql-client-15 util-linux; }
make_postgres() {
	local l=$work/postgres v=usr/lib/postgresql/15 s=usr/share/postgresql/15 e f
	for f in postgres initdb pg_ctl pg_isready psql pg_dump pg_basebackup pgbench createdb createuser; do
		take postgres $v/bin/$f
		mkdir -p "$l/usr/bin"
		ln -s ../../$v/bin/$f "$l/usr/bin/$f"
	done
	take postgres $s usr/share/zoneinfo usr/bin/setpriv
	mkdir -p "$l/$v/lib"
	for e in dict_snowball.so plpgsql.so libpqwalreceiver.so pgcrypto.so pg_stat_statements.so; do take postgres $v/lib/$e; done
	for f in "$work/postgres.all/$v/lib"/*_and_*.so "$work/postgres.all/$v/lib"/euc*.so "$work/postgres.all/$v/lib"/utf8_and*.so; do
		[ ! -e "$f" ] || take postgres "${f#"$work/postgres.all/"}"
	done
	rm -rf "${l:?}/$s/man" "${l:?}/usr/share/zoneinfo/right" "${l:?}/usr/share/zoneinfo/posix"
	mkdir -p "$l/usr/local/bin" "$l/var/lib/postgresql/data"
	cat >"$l/usr/local/bin/docker-entrypoint.sh" <<-'TEXT'
		#!/bin/sh
		# The first start makes a cluster out of POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_DB; then the server runs as its user.
		set -e
		case $1 in -*) set -- postgres "$@" ;; esac
		[ "$1" = postgres ] || exec "$@"
		if [ "$(id -u)" = 0 ]; then
			mkdir -p "$PGDATA" /run/postgresql
			chown -R postgres:postgres "$PGDATA" /run/postgresql
			chmod 700 "$PGDATA"
			exec /usr/bin/setpriv --reuid 103 --regid 103 --clear-groups "$0" "$@"
		fi
		if [ ! -s "$PGDATA/PG_VERSION" ]; then
			if [ -z "$POSTGRES_PASSWORD" ] && [ "$POSTGRES_HOST_AUTH_METHOD" != trust ]; then
				echo "Error: POSTGRES_PASSWORD is not set (or POSTGRES_HOST_AUTH_METHOD=trust)" >&2
				exit 1
			fi
			user=${POSTGRES_USER:-postgres}
			umask 077
			printf '%s\n' "${POSTGRES_PASSWORD:-none}" >/tmp/pw
			initdb --username="$user" --pwfile=/tmp/pw --locale=C --encoding=UTF8
			rm /tmp/pw
			printf 'host all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >>"$PGDATA/pg_hba.conf"
			if [ "${POSTGRES_DB:-$user}" != postgres ]; then
				printf 'CREATE DATABASE "%s";\n' "${POSTGRES_DB:-$user}" | postgres --single -D "$PGDATA" postgres >/dev/null
			fi
		fi
		exec "$@" -c listen_addresses='*'
	TEXT
	chmod 755 "$l/usr/local/bin/docker-entrypoint.sh"
	libraries postgres
	write postgres '"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","PGDATA=/var/lib/postgresql/data"],"Entrypoint":["docker-entrypoint.sh"],"Cmd":["postgres"],"ExposedPorts":{"5432/tcp":{}},"StopSignal":"SIGINT","Volumes":{"/var/lib/postgresql/data":{}}' \
		postgres:latest
}
