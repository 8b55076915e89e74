#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds as docker's classic builder makes them: every instruction, the cache, stages, errors, hostile contexts, an engine that dies.
. "$(dirname "$0")/lib.sh"

command -v docker >/dev/null || skip "no docker command"
engine_start
need_image busybox
export DOCKER_HOST="unix://$sock" DOCKER_BUILDKIT=0

# build NAME [OPTIONS]: builds $ctx with the Dockerfile on standard input; output in $tmp/out.
ctx=$tmp/ctx
build() {
	local name=$1
	shift
	cat >"$tmp/Dockerfile"
	docker build -t "$name" -f "$tmp/Dockerfile" "$@" "$ctx" >"$tmp/out" 2>&1 || { cat "$tmp/out"; return 1; }
}
again() { build "$@" <"$tmp/again"; }
said() { has "$(cat "$tmp/out")" "$1"; }
silent() { case $(cat "$tmp/out") in *"$1"*) printf 'it says "%s":\n' "$1"; cat "$tmp/out"; return 1 ;; esac; }
# fails TEXT NAME...: the build does not work, and says so.
fails() {
	local text=$1
	shift
	if build "$@" >/dev/null; then echo "the build went through"; return 1; fi
	said "$text"
}
run() { docker run --rm "$@" 2>&1; }
inspect() { docker image inspect -f "$1" "${2:-all}"; }
images() { docker images -aq | sort -u | wc -l; }
no_build_dir() { equal "$(find "$data/build" -mindepth 1 | wc -l)" 0; }
no_container() { equal "$(docker ps -aq)" ""; }
no_image() { ! docker image inspect "$1" >/dev/null 2>&1; }

mkdir -p "$ctx/dir/deep" "$tmp/arch/a/b"
echo one >"$ctx/one.txt"
echo two >"$ctx/two.txt"
echo secret >"$ctx/secret.key"
echo deep >"$ctx/dir/deep/file"
printf '#!/bin/sh\necho tool\n' >"$ctx/dir/tool"
chmod 755 "$ctx/dir/tool"
ln -s one.txt "$ctx/link"
ln -s /etc/passwd "$ctx/outside"
ln -s deep/file "$ctx/dir/inner"
echo packed >"$tmp/arch/a/b/c"
tar -C "$tmp/arch" -czf "$ctx/pack.tar.gz" a

echo "# instructions"
check "a build goes through" build all --build-arg GIVEN=outside --label by=test <<'END'
ARG BASE=busybox
FROM ${BASE}:latest
MAINTAINER some body <a@b>
ARG GIVEN=inside
ARG OTHER=default
ENV A=1 B="two words" C=$GIVEN
LABEL one=1 "two words"=2
WORKDIR /work
WORKDIR sub
COPY one.txt two.txt ./
COPY link /work/linked
COPY dir /work/dir
ADD pack.tar.gz /work/unpacked/
ADD one.txt /work/added
RUN echo "run sees $A $B $C $OTHER" >/work/run.txt && echo visible && echo red >&2
RUN ["/bin/sh", "-c", "echo exec form >>/work/run.txt"]
SHELL ["/bin/sh", "-e", "-c"]
RUN false || echo shell >>/work/run.txt
EXPOSE 80 443/udp
VOLUME /vol
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=30s --retries=2 CMD true
USER 1000:1000
ENTRYPOINT ["/bin/sh", "-c"]
CMD ["id -u; cat /work/run.txt"]
END
cp "$tmp/Dockerfile" "$tmp/again"
check "steps are told as docker tells them" said 'Step 2/26 : FROM ${BASE}:latest'
check "the label of the request is the last step" said "Step 26/26 : LABEL by=test"
check "a command's output is shown" said "visible"
check "its container is named" said " ---> Running in "
check "and goes" said " ---> Removed intermediate container "
check "the end names the image" said "Successfully tagged all:latest"
check "the image runs" equal "$(run all)" "$(printf '1000\nrun sees 1 two words outside default\nexec form\nshell')"
check "files of COPY" equal "$(run all 'cat one.txt two.txt /work/linked /work/added')" "$(printf 'one\ntwo\none\none')"
check "a directory's content" equal "$(run all 'cat /work/dir/deep/file /work/dir/inner; readlink /work/dir/inner; /work/dir/tool')" "$(printf 'deep\ndeep\ndeep/file\ntool')"
check "an archive of ADD is unpacked" equal "$(run all 'cat /work/unpacked/a/b/c')" packed
check "files of the context belong to root" equal "$(run all 'stat -c %u:%g /work/dir/tool /work/sub/one.txt')" "$(printf '0:0\n0:0')"
check "config: environment" has "$(inspect '{{json .Config.Env}}')" '"A=1","B=two words","C=outside"'
check "config: labels" equal "$(inspect '{{json .Config.Labels}}')" '{"by":"test","one":"1","two words":"2"}'
check "config: the rest" equal "$(inspect '{{.Config.User}} {{.Config.WorkingDir}} {{.Config.StopSignal}} {{json .Config.ExposedPorts}} {{json .Config.Volumes}} {{.Author}}')" \
	'1000:1000 /work/sub SIGQUIT {"443/udp":{},"80/tcp":{}} {"/vol":{}} some body <a@b>'
check "config: health" equal "$(inspect '{{json .Config.Healthcheck}}')" '{"Test":["CMD-SHELL","true"],"Interval":30000000000,"Retries":2}'
history=$(docker history --no-trunc --format '{{.CreatedBy}}' all)
check "history" has "$history" '/bin/sh -c #(nop)  ENV A=1 B=two words C=outside'
check "history of RUN names its build arguments" has "$history" '|2 GIVEN=outside OTHER=default /bin/sh -c echo "run sees'
check "no container is left" no_container
check "intermediate images are not listed" equal "$(docker images -q | wc -l)" 2
check "but with -a" has "$(docker images -a)" "<none>"

echo "# cache"
first=$(inspect '{{.Id}}')
all() { again all --build-arg GIVEN=outside --label by=test; }
check "a second build" all
check "  is all from the cache" silent "Running in"
check "  with the same result" equal "$(inspect '{{.Id}}')" "$first"
engine_kill9
engine_start
check "the cache outlives the engine" all
check "  all of it" silent "Running in"
touch -d 2001-01-01 "$ctx/one.txt"
check "times do not matter" all
check "  all from the cache" silent "Running in"
echo changed >"$ctx/one.txt"
check "contents do" all
check "  from COPY on" said "Running in"
check "  what is before is cached" said "Using cache"
echo one >"$ctx/one.txt"
check "another build argument" again all --build-arg GIVEN=else --label by=test
check "  runs again" said "Running in"
check "--no-cache" again all --no-cache --build-arg GIVEN=outside --label by=test
check "  uses none" silent "Using cache"
check "prune" has "$(docker builder prune -af 2>&1)" "Total reclaimed space"
check "  leaves what has a name" run all true
check "  after it nothing is cached" all
check "  indeed" said "Running in"

echo "# stages"
check "stages" build stages <<'END'
FROM busybox AS first
RUN echo first >/f
FROM busybox AS unused
RUN echo never >/n && exit 9
FROM first AS second
RUN cat /f >/s && echo second >>/s
FROM busybox
COPY --from=second --chown=7:8 --chmod=0640 /s /from-second
COPY --from=0 /f /from-first
COPY --from=busybox:latest /bin/busybox /copy-of-busybox
END
cp "$tmp/Dockerfile" "$tmp/again"
check "a stage that nobody needs is not built" silent "never"
check "its steps are not counted" said "Step 8/8 : COPY --from=busybox:latest"
check "what came over" equal "$(run stages sh -c 'cat /from-second /from-first; stat -c "%u:%g %a" /from-second; cmp /bin/busybox /copy-of-busybox')" \
	"$(printf 'first\nsecond\nfirst\n7:8 640')"
check "--target" again target --target first
check "  is that stage" equal "$(run target cat /f)" first
check "  and no other" silent "second"
cp "$tmp/again" "$tmp/keep"
check "an unknown target" fails 'target stage "nope" could not be found' x --target nope <"$tmp/keep"
check "independent stages" build par <<'END'
FROM busybox AS a
RUN date +%s >/begin; sleep 2; date +%s >/end
FROM busybox AS b
RUN date +%s >/begin && sleep 2 && date +%s >/end
FROM busybox
COPY --from=a /begin /end /a/
COPY --from=b /begin /end /b/
END
check "  run at the same time" run par sh -c '[ $(cat /a/begin) -lt $(cat /b/end) ] && [ $(cat /b/begin) -lt $(cat /a/end) ]'
check "  and are told one after the other" equal "$(grep -o '^Step ./7' "$tmp/out" | tr -dc '1-7' | sed 's/7//g')" "123456"
check "scratch" build scratch <<'END'
FROM busybox AS b
FROM scratch
COPY --from=b /bin/busybox /bin/sh
COPY one.txt /
CMD ["/bin/sh", "-c", "echo I am here"]
END
check "  runs" equal "$(run scratch)" "I am here"
check "FROM scratch alone" fails "No image was generated. Is your Dockerfile empty?" x <<<"FROM scratch"
check "ONBUILD" build onbuild <<'END'
FROM busybox
ONBUILD COPY two.txt /trigger
ONBUILD RUN echo triggered >>/trigger
END
check "  is inherited" build child <<<"FROM onbuild"
check "  told" said "# Executing 2 build triggers"
check "  done" equal "$(run child cat /trigger)" "$(printf 'two\ntriggered')"
check "  and gone" equal "$(inspect '{{json .Config.OnBuild}}' child)" null

echo "# heredocs, words, patterns"
check "heredocs" build here <<'END'
FROM busybox
ENV NAME=world
RUN <<EOF
echo "hello $NAME" >/run1
echo more >>/run1
EOF
RUN <<-SCRIPT
	#!/bin/sh
	echo "program $0" >/run2
SCRIPT
RUN cat <<A - <<'B' >/run3
first
A
second
B
COPY <<EOF <<"RAW" /files/
hello $NAME
EOF
$NAME stays
RAW
COPY --chmod=755 <<EOF /bin/tool
#!/bin/sh
echo made here
EOF
END
check "  run" equal "$(run here sh -c 'cat /run1 /run2; cat /files/EOF /files/RAW; tool')" \
	"$(printf 'hello world\nmore\nprogram /dev/pipes/SCRIPT\nhello world\n$NAME stays\nmade here')"
check "patterns" build globs <<'END'
FROM busybox
COPY *.txt /txt/
COPY d?r/* /in/
COPY --exclude=*.key --exclude=dir . /rest/
END
check "  match" equal "$(run globs sh -c 'cd /; echo txt/*; echo in/*; echo rest/*.key rest/dir; ls rest | wc -l')" \
	"$(printf 'txt/one.txt txt/two.txt\nin/file in/inner in/tool\nrest/*.key rest/dir\n5')"
check "a file onto a directory goes into it" build into <<'END'
FROM busybox
RUN mkdir /d && echo x >/d/x && ln -s d /l
COPY one.txt /d
COPY two.txt /l
COPY dir /l/new
END
check "  links in the image are followed inside it" equal "$(run into sh -c 'cat /d/one.txt /d/two.txt /d/x; ls /d/new; readlink /l')" "$(printf 'one\ntwo\nx\ndeep\ninner\ntool\nd')"
check "links of the image do not lead out" build escape <<END
FROM busybox
RUN ln -s $tmp/victim /way && ln -s ../../../../../../../../../..$tmp /up && mkdir -p $tmp
COPY one.txt /way
COPY two.txt /up/
END
check "  nothing was written outside" [ ! -e "$tmp/victim" ]
check "  nor there" [ ! -e "$tmp/two.txt" ]
printf '*.key\ndir\n!dir/tool\nDockerfile\n' >"$ctx/.dockerignore"
check ".dockerignore" build ignored <<'END'
FROM busybox
COPY . /c
END
check "  is heeded" equal "$(run ignored sh -c 'cd /c; ls; ls dir; ls -A | grep -c Dockerfile')" "$(printf 'dir\nlink\none.txt\noutside\npack.tar.gz\ntwo.txt\ntool\n0')"
check "  and its patterns judged" fails "file not found in build context or excluded by .dockerignore" x <<<"$(printf 'FROM busybox\nCOPY secret.key /')"
rm "$ctx/.dockerignore"
check "Dockerfile on standard input, no context" sh -c "printf 'FROM busybox\nRUN echo hi >/hi\n' | docker build -q -t stdin - | grep -q ^sha256:"
printf 'FROM busybox\nCOPY one.txt /\n' >"$ctx/Dockerfile"
check "an archive as the context" sh -c "tar -C '$ctx' -cz . | docker build -q -t stdin2 -"
rm "$ctx/Dockerfile"
check "--iidfile" build iid --iidfile "$tmp/iid" <<<"$(printf 'FROM busybox\nLABEL iid=1\n')"
check "  holds the id" equal "$(cat "$tmp/iid")" "$(inspect '{{.Id}}' iid)"
check "two names" sh -c "printf 'FROM busybox\nLABEL two=names\n' | docker build -t n1:a -t n2:b - | grep -c 'Successfully tagged' | grep -qx 2"
check "options of RUN's containers" build opts --network none --add-host there:192.0.2.9 --memory 64m --shm-size 8m <<'END'
FROM busybox
RUN ip -o link | grep -vc ' lo:' >/links || true; grep there /etc/hosts >/hosts; df -k /dev/shm | tail -n 1 | awk '{print $2}' >/shm
END
check "  are used" equal "$(run opts cat /links /hosts /shm)" "$(printf '0\n192.0.2.9\tthere\n8192')"

python3 -c "import os, sys; os.setxattr(sys.argv[1], 'security.capability', bytes.fromhex('0100000200040000000000000000000000000000'))" "$ctx/dir/tool"
check "capabilities of a file" build caps <<'END'
FROM busybox
COPY --chown=5:6 --chmod=4711 dir/tool /t
END
check "  mode and owner" equal "$(run caps stat -c '%a %u:%g' /t)" "4711 5:6"
check "  and the capabilities come over" sh -c "python3 -c \"import os, sys; os.getxattr(sys.argv[1], 'security.capability')\" \"\$(docker image inspect -f '{{.GraphDriver.Data.UpperDir}}' caps)/t\""
python3 -c "import os, sys; os.removexattr(sys.argv[1], 'security.capability')" "$ctx/dir/tool"

echo "# errors"
check "unknown instruction, by line" fails "dockerfile parse error on line 3: unknown instruction: FOO" x <<<"$(printf 'FROM busybox\n\nFOO bar\n')"
check "a command that fails" fails "The command '/bin/sh -c exit 3' returned a non-zero code: 3" x <<<"$(printf 'FROM busybox\nRUN exit 3\n')"
check "  its container stays for a look" equal "$(docker ps -aq | wc -l)" 1
docker rm $(docker ps -aq) >/dev/null
check "  but not with --force-rm, and the status is told" status 3 docker build -q --force-rm -f "$tmp/Dockerfile" "$ctx"
check "  really" no_container
check "a program that is not there" fails "returned a non-zero code: 127" x --force-rm <<<"$(printf 'FROM busybox\nRUN nosuchprogram\n')"
check "exec form of it" fails "no such file or directory" x --force-rm <<<"$(printf 'FROM busybox\nRUN ["/nosuch"]\n')"
check "a missing source" fails "COPY failed: file not found in build context or excluded by .dockerignore: stat nofile: file does not exist" x <<<"$(printf 'FROM busybox\nCOPY nofile /\n')"
check "a link out of the context" fails "file not found in build context" x <<<"$(printf 'FROM busybox\nCOPY outside /\n')"
check "a path out of the context" fails "forbidden path outside the build context" x <<<"$(printf 'FROM busybox\nCOPY ../x /\n')"
check "no match" fails "no source files were specified" x <<<"$(printf 'FROM busybox\nCOPY *.none /\n')"
check "several sources need a directory" fails "the destination must be a directory and end with a /" x <<<"$(printf 'FROM busybox\nCOPY one.txt two.txt /x\n')"
check "a missing image" fails "nosuchimage" x <<<"FROM nosuchimage"
check "RUN --mount is BuildKit's" fails "the --mount option requires BuildKit" x <<<"$(printf 'FROM busybox\nRUN --mount=type=cache,target=/x true\n')"
check "ADD of an address" fails "is an address: this engine fetches nothing for ADD" x <<<"$(printf 'FROM busybox\nADD http://192.0.2.1/x /\n')"
check "squash" fails "squash" x --squash <<<"FROM busybox"
check "another platform" fails "cannot be built here" x --platform linux/s390x <<<"FROM busybox"
check "an unused build argument" build warn --build-arg nobody=1 <<<"$(printf 'FROM busybox\nLABEL w=1')"
check "  is told" said "[Warning] One or more build-args [nobody] were not consumed"
check "an unknown user of --chown" fails "no such user: nobodyatall" x <<<"$(printf 'FROM busybox\nCOPY --chown=nobodyatall one.txt /\n')"
check "garbage as a Dockerfile" sh -c "! head -c 3000 /dev/urandom | docker build - 2>&1 | grep -q Successfully"
check "everything is cleaned" until_ok 10 no_build_dir
check "no container is left" no_container

echo "# hostile contexts and archives"
post() { api -o "$tmp/reply" -w '%{http_code}' -X POST -H 'Content-Type: application/x-tar' --data-binary "@$1" "http://localhost/v1.50/build?$2"; }
python3 - "$tmp" <<'END'
import io, sys, tarfile
top = sys.argv[1]
F, L, H, C = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE
def add(t, name, kind, data):
    i = tarfile.TarInfo(name)
    i.type = kind
    if kind == F:
        i.size = len(data)
        t.addfile(i, io.BytesIO(data))
    else:
        i.linkname = data
        i.mode = 0o755
        t.addfile(i)
def tar(name, entries):
    with tarfile.open(f"{top}/{name}", "w") as t:
        for e in entries:
            add(t, *e)
def inner(entries):
    b = io.BytesIO()
    with tarfile.open(fileobj=b, mode="w") as t:
        for e in entries:
            add(t, *e)
    return b.getvalue()
df = ("Dockerfile", F, b"FROM busybox\nCOPY . /c\n")
tar("dotdot.tar", [("../../victim", F, b"x"), df])
tar("through.tar", [("way", L, top), ("way/victim", F, b"x"), df])
tar("hard.tar", [("h", H, "/etc/shadow"), df])
tar("device.tar", [("dev", C, ""), df])
tar("dockerlink.tar", [("Dockerfile", L, "/etc/passwd")])
tar("whiteout.tar", [(".wh.bin", F, b"a file like others"), df])
df = ("Dockerfile", F, b"FROM busybox\nADD evil.tar /x/\n")
tar("add.tar", [("evil.tar", F, inner([("../../../victim", F, b"x")])), df])
tar("addlink.tar", [("evil.tar", F, inner([("way", L, top), ("way/victim", F, b"x")])), df])
END
head -c 5000 /dev/urandom >"$tmp/rnd"
head -c 1300 "$tmp/whiteout.tar" >"$tmp/cut.tar"
refused() { equal "$(post "$tmp/$1" q=1)" "${3:-400}" && has "$(cat "$tmp/reply")" "$2"; }
check "a context with '..'" refused dotdot.tar "the path holds '..'"
check "a context that writes through its own link" refused through.tar "not a folder"
check "a context with a hard link out of it" refused hard.tar "hard link"
check "a context with a device" refused device.tar "it is a device"
check "a Dockerfile that is a link out of the context" refused dockerlink.tar "Cannot locate specified Dockerfile" 404
check "a context that is no archive" refused rnd "no intact tar archive"
check "a context cut off within a file" refused cut.tar "" 400
check "a name like a whiteout" equal "$(post "$tmp/whiteout.tar" t=wh)" 200
check "  is refused by name" has "$(cat "$tmp/reply")" "names that begin with .wh. stand for removals"
check "ADD of an archive with '..'" equal "$(post "$tmp/add.tar" t=evil)" 200
check "  is an error" has "$(cat "$tmp/reply")" "the path holds '..'"
check "ADD of an archive that goes through its own link" equal "$(post "$tmp/addlink.tar" t=evil2)" 200
check "  stays inside the image" [ ! -e "$tmp/victim" ]
(printf 'POST /v1.50/build?t=half HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\nContent-Length: 100000\r\n\r\n'; head -c 5000 "$tmp/whiteout.tar") | timeout 5 nc -N -U "$sock" >/dev/null || true
check "a context that stops mid-way leaves nothing" until_ok 10 no_build_dir
check "  and no image" no_image half
check "BuildKit's requests are refused by name" equal "$(post "$tmp/whiteout.tar" version=2)" 400
check "  with a word" has "$(cat "$tmp/reply")" "DOCKER_BUILDKIT=0"
check "bad JSON in the query" equal "$(post "$tmp/whiteout.tar" buildargs=%7Bx)" 400
check "wrong types in the query" equal "$(post "$tmp/whiteout.tar" 'labels=%7B%22a%22:1%7D')" 400
check "a bad name" equal "$(post "$tmp/whiteout.tar" 't=UPPER:x')" 400

echo "# a client that goes, an engine that dies"
printf 'FROM busybox\nRUN echo begun && sleep 600\n' >"$tmp/Dockerfile"
docker build -f "$tmp/Dockerfile" "$ctx" >"$tmp/out" 2>&1 &
pid=$!
check "a long build begins" until_ok 20 said begun
disown $pid
kill -9 $pid
check "its container goes with the client" until_ok 20 no_container
check "and its files" until_ok 10 no_build_dir
dangling=$(docker images -q --filter dangling=true | wc -l)
printf 'FROM busybox\nLABEL unfinished=1\nRUN echo begun && sleep 600\n' >"$tmp/Dockerfile"
docker build -f "$tmp/Dockerfile" "$ctx" >"$tmp/out" 2>&1 &
pid=$!
check "another one begins" until_ok 20 said begun
engine_kill9
wait $pid 2>/dev/null || true
engine_start
check "after the engine's death its container goes" until_ok 20 no_container
check "its files, too" no_build_dir
check "and no unfinished image is listed" equal "$(docker images -q --filter dangling=true | wc -l)" "$dangling"
check "the next build works" build after <<<"$(printf 'FROM busybox\nRUN echo works >/w\n')"

echo "# kedge build"
printf '*.key\ndir\n!dir/tool\nDockerfile\n' >"$ctx/.dockerignore"
printf 'FROM busybox\nARG V\nCOPY . /c\nRUN echo "V is $V"; exit $V\n' >"$ctx/Dockerfile"
check "kedge builds" sh -c "'$builddir/kedge' -H unix://$sock build -t kb --build-arg V=0 --label l=1 --iidfile '$tmp/iid' '$ctx' >'$tmp/out'"
check "  as docker does" said "Step 5/5 : LABEL l=1"
check "  shows output" said "V is 0"
check "  names the context's size" said "Sending build context to kedge"
check "  writes the id" equal "$(cat "$tmp/iid")" "$(inspect '{{.Id}}' kb)"
check "  leaves out what is ignored" equal "$(run kb sh -c 'cd /c; ls -A; ls dir')" "$(printf '.dockerignore\ndir\nlink\none.txt\noutside\npack.tar.gz\ntwo.txt\ntool')"
check "  gives the command's status" status 5 kedge build --force-rm --build-arg V=5 "$ctx"
check "  and the sentence" has "$(kedge build --force-rm --build-arg V=5 "$ctx" 2>&1)" "returned a non-zero code: 5"
check "  -q prints the id alone" equal "$(kedge build -q --label l=1 --build-arg V=0 "$ctx")" "$(cat "$tmp/iid")"
check "  the same context makes the same for docker" sh -c "docker build -t kb2 --build-arg V=0 --label l=1 '$ctx' 2>&1 | grep -q 'Using cache'"
rm "$ctx/.dockerignore" "$ctx/Dockerfile"
check "  Dockerfile on standard input" sh -c "printf 'FROM busybox\nCOPY one.txt /\n' | '$builddir/kedge' -H unix://$sock build -q -f - '$ctx'"
check "  Dockerfile alone" sh -c "printf 'FROM busybox\nLABEL x=1\n' | '$builddir/kedge' -H unix://$sock build -q -"
check "  an archive" sh -c "cp '$tmp/Dockerfile' '$ctx/Dockerfile'; printf 'FROM busybox\nCOPY two.txt /\n' >'$ctx/Dockerfile'; tar -C '$ctx' -c . | '$builddir/kedge' -H unix://$sock build -q -; rm '$ctx/Dockerfile'"
check "  no such folder" has "$(kedge build /none 2>&1)" 'path "/none" not found'
check "  no Dockerfile" has "$(kedge build "$ctx" 2>&1)" "unable to evaluate symlinks in Dockerfile path"
check "  an address" has "$(kedge build https://192.0.2.1/x.git 2>&1)" "is an address"
check "  stdin twice" has "$(kedge build -f - - </dev/null 2>&1)" "can't use stdin for both build context and dockerfile"
check "df knows the cache" has "$(kedge system df)" "Build Cache"
check "builder prune" has "$(kedge builder prune -af)" "Total reclaimed space:"
check "leaves no entry" equal "$(kedge system df --format '{{.Type}} {{.TotalCount}}' | tail -n 1)" "Build Cache 0"

echo "# --cache-from"
check "an image with steps" build lender <<'END'
FROM busybox
RUN date +%s%N >/t; rm /bin/tar
WORKDIR /w
COPY one.txt /
RUN true
LABEL x=1
END
cp "$tmp/Dockerfile" "$tmp/again"
stamp=$(run lender cat /t)
docker save -o "$tmp/lender.tar" lender
docker rmi lender >/dev/null
docker builder prune -af >/dev/null 2>&1
docker load -q -i "$tmp/lender.tar" >/dev/null
check "as another engine's it lends its layers" again borrower --cache-from lender
check "  nothing runs" silent "Running in"
check "  the content is the same" equal "$(run borrower sh -c 'cat /t /one.txt; ls /bin/tar' | head -n 2)" "$(printf '%s\none' "$stamp")"
check "  and what it removed stays away" has "$(run borrower ls /bin/tar 2>&1)" "No such file"
docker rmi borrower >/dev/null
docker builder prune -af >/dev/null 2>&1
check "without being named it lends nothing" again other
check "  all runs" said "Running in"

echo "# kill -9 on the way"
printf 'FROM busybox\nENV a=1\nCOPY dir /dir\nWORKDIR /new\nRUN echo x >/x\nRUN echo y >/y\nLABEL end=1\n' >"$tmp/kill"
dangling() { docker images -q --filter dangling=true | sort -u | wc -l; }
no_tmp() { equal "$(find "$data/image/tmp" -mindepth 1 -maxdepth 1 | wc -l)" 0; }
before=$(dangling)
for at in image.layer:1 image.linked:1 image.committed:3 engine.created:1 engine.exit:1; do
	engine_stop
	KEDGE_FAULT=$at:kill engine_start
	docker build --no-cache -t killed -f "$tmp/kill" "$ctx" >"$tmp/out" 2>&1 || true
	if ! until_ok 5 sh -c "! kill -0 $engine_pid"; then
		echo "not ok - $at is not on the way of a build"
		failures=$((failures + 1))
		kill -9 "$engine_pid"
	fi
	wait "$engine_pid" 2>/dev/null || true
	engine_pid=
	engine_start
	check "killed at $at: no image" no_image killed
	check "  no container" until_ok 20 no_container
	check "  no files" no_build_dir
	check "  nothing half made" until_ok 10 no_tmp
	check "  nothing new to see" equal "$(dangling)" "$before"
	check "  no mount" equal "$(grep -c "$data/" /proc/self/mountinfo)" 0
done
check "the build works then" build killed <"$tmp/kill"

echo "# a full disk"
engine_stop
data=$tmp/small
mkdir "$data"
mount -t tmpfs -o size=24m none "$data"
engine_start
need_image busybox
head -c 40M /dev/zero >"$ctx/large"
check "a context that does not fit" fails "No space left on device" x <<<"$(printf 'FROM busybox\nCOPY one.txt /\n')"
rm "$ctx/large"
check "  leaves nothing" until_ok 10 no_build_dir
head -c 9M /dev/urandom >"$ctx/large"
check "a copy that does not fit" fails "No space left on device" x <<<"$(printf 'FROM busybox\nCOPY large /a\nCOPY large /b\n')"
rm "$ctx/large"
check "  leaves nothing" until_ok 10 no_build_dir
docker builder prune -af >/dev/null 2>&1
check "  after which there is room" build fits <<<"$(printf 'FROM busybox\nRUN head -c 2000000 /dev/zero >/z\n')"
check "a command that fills it" fails "returned a non-zero code" x --force-rm <<<"$(printf 'FROM busybox\nRUN dd if=/dev/zero of=/large bs=1M count=40\n')"
engine_stop
umount "$data"
data=$tmp/lib
engine_start

echo "# images from a registry"
if command -v docker-registry >/dev/null && command -v skopeo >/dev/null && command -v umoci >/dev/null && command -v htpasswd >/dev/null; then
	. "$srcdir_top/tests/system/registry_lib.sh"
	registry build 5010
	docker tag busybox 127.0.0.1:5010/base/box:1
	docker push -q 127.0.0.1:5010/base/box:1 >/dev/null
	docker rmi 127.0.0.1:5010/base/box:1 >/dev/null
	check "FROM of an image that is not here" build pulled <<<"$(printf 'FROM 127.0.0.1:5010/base/box:1\nRUN echo pulled >/p\n')"
	check "  its progress is told" said "Pulling from base/box"
	check "  it is used" equal "$(run pulled cat /p)" pulled
	check "--pull asks again" build pulled --pull <<<"$(printf 'FROM 127.0.0.1:5010/base/box:1\nRUN echo pulled >/p\n')"
	check "  and says so" said "Image is up to date"
	docker rmi 127.0.0.1:5010/base/box:1 >/dev/null
	check "COPY --from of one" build copied <<<"$(printf 'FROM busybox\nCOPY --from=127.0.0.1:5010/base/box:1 /bin/busybox /b\n')"
	check "one that is nowhere" fails "base/none" x <<<"FROM 127.0.0.1:5010/base/none:1"
fi

echo "# twenty steps"
{
	echo FROM busybox
	for i in $(seq 10); do printf 'RUN echo %s >/f%s\nENV E%s=%s\n' $i $i $i $i; done
} >"$tmp/again"
check "twenty steps" again twenty
start=$(date +%s%N)
check "again" again twenty
echo "# rebuild of 20 cached steps: $((($(date +%s%N) - start) / 1000000)) ms with the client"
check "all cached" equal "$(grep -c 'Using cache' "$tmp/out")" 20
