/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_CLI_CREATE_H
#define KEDGE_CLI_CREATE_H

#include <jansson.h>

#include "cli/flags.h"
#include "cli/spec.h"

/* The flags that say what a container is, for `create` and `run`; `run` has more in front of them. */
#define CREATE_FLAGS \
	{ "add-host", 0, FLAG_LIST, "Add a custom host-to-IP mapping (host:ip)", .check = spec_check_host }, \
	{ "annotation", 0, FLAG_LIST, "Add an annotation to the container (passed through to the OCI runtime)", .word = "map" }, \
	{ "attach", 'a', FLAG_LIST, "Attach to STDIN, STDOUT or STDERR", .check = spec_check_attach }, \
	{ "blkio-weight", 0, FLAG_INT, "Block IO (relative weight), between 10 and 1000, or 0 to disable", .word = "uint16" }, \
	{ "blkio-weight-device", 0, FLAG_LIST, "Block IO weight (relative device weight)" }, \
	{ "cap-add", 0, FLAG_LIST, "Add Linux capabilities" }, \
	{ "cap-drop", 0, FLAG_LIST, "Drop Linux capabilities" }, \
	{ "cgroup-parent", 0, FLAG_STRING, "Optional parent cgroup for the container" }, \
	{ "cgroupns", 0, FLAG_STRING, "Cgroup namespace to use (host|private)" }, \
	{ "cidfile", 0, FLAG_STRING, "Write the container ID to the file" }, \
	{ "cpu-count", 0, FLAG_INT, "CPU count (Windows only)" }, \
	{ "cpu-percent", 0, FLAG_INT, "CPU percent (Windows only)" }, \
	{ "cpu-period", 0, FLAG_INT, "Limit CPU CFS (Completely Fair Scheduler) period" }, \
	{ "cpu-quota", 0, FLAG_INT, "Limit CPU CFS (Completely Fair Scheduler) quota" }, \
	{ "cpu-rt-period", 0, FLAG_INT, "Limit CPU real-time period in microseconds" }, \
	{ "cpu-rt-runtime", 0, FLAG_INT, "Limit CPU real-time runtime in microseconds" }, \
	{ "cpu-shares", 'c', FLAG_INT, "CPU shares (relative weight)" }, \
	{ "cpus", 0, FLAG_DECIMAL, "Number of CPUs" }, \
	{ "cpuset-cpus", 0, FLAG_STRING, "CPUs in which to allow execution (0-3, 0,1)" }, \
	{ "cpuset-mems", 0, FLAG_STRING, "MEMs in which to allow execution (0-3, 0,1)" }, \
	{ "device", 0, FLAG_LIST, "Add a host device to the container" }, \
	{ "device-cgroup-rule", 0, FLAG_LIST, "Add a rule to the cgroup allowed devices list" }, \
	{ "device-read-bps", 0, FLAG_LIST, "Limit read rate (bytes per second) from a device" }, \
	{ "device-read-iops", 0, FLAG_LIST, "Limit read rate (IO per second) from a device" }, \
	{ "device-write-bps", 0, FLAG_LIST, "Limit write rate (bytes per second) to a device" }, \
	{ "device-write-iops", 0, FLAG_LIST, "Limit write rate (IO per second) to a device" }, \
	{ "disable-content-trust", 0, FLAG_BOOL, "Skip image verification", .def = "true" }, \
	{ "dns", 0, FLAG_LIST, "Set custom DNS servers", .check = spec_check_address }, \
	{ "dns-option", 0, FLAG_LIST, "Set DNS options" }, \
	{ "dns-opt", 0, FLAG_LIST, "Set DNS options", .hidden = true }, \
	{ "dns-search", 0, FLAG_LIST, "Set custom DNS search domains" }, \
	{ "domainname", 0, FLAG_STRING, "Container NIS domain name" }, \
	{ "entrypoint", 0, FLAG_STRING, "Overwrite the default ENTRYPOINT of the image" }, \
	{ "env", 'e', FLAG_LIST, "Set environment variables", .check = spec_check_env }, \
	{ "env-file", 0, FLAG_LIST, "Read in a file of environment variables" }, \
	{ "expose", 0, FLAG_LIST, "Expose a port or a range of ports" }, \
	{ "gpus", 0, FLAG_STRING, "GPU devices to add to the container ('all' to pass all GPUs)", .word = "gpu-request" }, \
	{ "group-add", 0, FLAG_LIST, "Add additional groups to join" }, \
	{ "health-cmd", 0, FLAG_STRING, "Command to run to check health" }, \
	{ "health-interval", 0, FLAG_DURATION, "Time between running the check (ms|s|m|h)" }, \
	{ "health-retries", 0, FLAG_INT, "Consecutive failures needed to report unhealthy" }, \
	{ "health-start-interval", 0, FLAG_DURATION, "Time between running the check during the start period (ms|s|m|h)" }, \
	{ "health-start-period", 0, FLAG_DURATION, "Start period for the container to initialize before starting health-retries countdown (ms|s|m|h)" }, \
	{ "health-timeout", 0, FLAG_DURATION, "Maximum time to allow one check to run (ms|s|m|h)" }, \
	{ "hostname", 'h', FLAG_STRING, "Container host name" }, \
	{ "init", 0, FLAG_BOOL, "Run an init inside the container that forwards signals and reaps processes" }, \
	{ "interactive", 'i', FLAG_BOOL, "Keep STDIN open even if not attached" }, \
	{ "io-maxbandwidth", 0, FLAG_BYTES, "Maximum IO bandwidth limit for the system drive (Windows only)" }, \
	{ "io-maxiops", 0, FLAG_INT, "Maximum IOps limit for the system drive (Windows only)", .word = "uint" }, \
	{ "ip", 0, FLAG_STRING, "IPv4 address (e.g., 172.30.100.104)" }, \
	{ "ip6", 0, FLAG_STRING, "IPv6 address (e.g., 2001:db8::33)" }, \
	{ "ipc", 0, FLAG_STRING, "IPC mode to use" }, \
	{ "isolation", 0, FLAG_STRING, "Container isolation technology" }, \
	{ "kernel-memory", 0, FLAG_BYTES, "Kernel memory limit" }, \
	{ "label", 'l', FLAG_LIST, "Set meta data on a container" }, \
	{ "label-file", 0, FLAG_LIST, "Read in a line delimited file of labels" }, \
	{ "link", 0, FLAG_LIST, "Add link to another container" }, \
	{ "link-local-ip", 0, FLAG_LIST, "Container IPv4/IPv6 link-local addresses" }, \
	{ "log-driver", 0, FLAG_STRING, "Logging driver for the container" }, \
	{ "log-opt", 0, FLAG_LIST, "Log driver options" }, \
	{ "mac-address", 0, FLAG_STRING, "Container MAC address (e.g., 92:d0:c6:0a:29:33)" }, \
	{ "memory", 'm', FLAG_BYTES, "Memory limit" }, \
	{ "memory-reservation", 0, FLAG_BYTES, "Memory soft limit" }, \
	{ "memory-swap", 0, FLAG_BYTES, "Swap limit equal to memory plus swap: '-1' to enable unlimited swap" }, \
	{ "memory-swappiness", 0, FLAG_INT, "Tune container memory swappiness (0 to 100)", .def = "-1" }, \
	{ "mount", 0, FLAG_LIST, "Attach a filesystem mount to the container", .word = "mount", .check = spec_check_mount }, \
	{ "name", 0, FLAG_STRING, "Assign a name to the container" }, \
	{ "network", 0, FLAG_LIST, "Connect a container to a network", .word = "network" }, \
	{ "net", 0, FLAG_LIST, "Connect a container to a network", .word = "network", .hidden = true }, \
	{ "network-alias", 0, FLAG_LIST, "Add network-scoped alias for the container" }, \
	{ "net-alias", 0, FLAG_LIST, "Add network-scoped alias for the container", .hidden = true }, \
	{ "no-healthcheck", 0, FLAG_BOOL, "Disable any container-specified HEALTHCHECK" }, \
	{ "oom-kill-disable", 0, FLAG_BOOL, "Disable OOM Killer" }, \
	{ "oom-score-adj", 0, FLAG_INT, "Tune host's OOM preferences (-1000 to 1000)" }, \
	{ "pid", 0, FLAG_STRING, "PID namespace to use" }, \
	{ "pids-limit", 0, FLAG_INT, "Tune container pids limit (set -1 for unlimited)" }, \
	{ "platform", 0, FLAG_STRING, "Set platform if server is multi-platform capable" }, \
	{ "privileged", 0, FLAG_BOOL, "Give extended privileges to this container" }, \
	{ "publish", 'p', FLAG_LIST, "Publish a container's port(s) to the host" }, \
	{ "publish-all", 'P', FLAG_BOOL, "Publish all exposed ports to random ports" }, \
	{ "pull", 0, FLAG_STRING, "Pull image before running (\"always\", \"missing\", \"never\")", .def = "missing" }, \
	{ "quiet", 'q', FLAG_BOOL, "Suppress the pull output" }, \
	{ "read-only", 0, FLAG_BOOL, "Mount the container's root filesystem as read only" }, \
	{ "restart", 0, FLAG_STRING, "Restart policy to apply when a container exits", .def = "no" }, \
	{ "rm", 0, FLAG_BOOL, "Automatically remove the container and its associated anonymous volumes when it exits" }, \
	{ "runtime", 0, FLAG_STRING, "Runtime to use for this container" }, \
	{ "security-opt", 0, FLAG_LIST, "Security Options" }, \
	{ "shm-size", 0, FLAG_BYTES, "Size of /dev/shm" }, \
	{ "stop-signal", 0, FLAG_STRING, "Signal to stop the container" }, \
	{ "stop-timeout", 0, FLAG_INT, "Timeout (in seconds) to stop a container" }, \
	{ "storage-opt", 0, FLAG_LIST, "Storage driver options for the container" }, \
	{ "sysctl", 0, FLAG_LIST, "Sysctl options", .word = "map", .check = spec_check_sysctl }, \
	{ "tmpfs", 0, FLAG_LIST, "Mount a tmpfs directory" }, \
	{ "tty", 't', FLAG_BOOL, "Allocate a pseudo-TTY" }, \
	{ "ulimit", 0, FLAG_LIST, "Ulimit options", .word = "ulimit", .check = spec_check_ulimit }, \
	{ "use-api-socket", 0, FLAG_BOOL, "Bind mount the API socket and required auth" }, \
	{ "user", 'u', FLAG_STRING, "Username or UID (format: <name|uid>[:<group|gid>])" }, \
	{ "userns", 0, FLAG_STRING, "User namespace to use" }, \
	{ "uts", 0, FLAG_STRING, "UTS namespace to use" }, \
	{ "volume", 'v', FLAG_LIST, "Bind mount a volume" }, \
	{ "volume-driver", 0, FLAG_STRING, "Optional volume driver for the container" }, \
	{ "volumes-from", 0, FLAG_LIST, "Mount volumes from the specified container(s)" }, \
	{ "workdir", 'w', FLAG_STRING, "Working directory inside the container" }

/* Body of POST /containers/create. f->args: image and command. detach: nothing is attached. NULL with e. */
/* create_net.c: --network and what goes with it, to HostConfig.NetworkMode and NetworkingConfig.EndpointsConfig. */
int create_networks(const struct flags *f, json_t *host, json_t *endpoints, struct err *e);
json_t *create_body(const struct flags *f, bool detach, struct err *e);

#endif
