#include "orchestrator/port_holder.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "orchestrator/paths.h"
#include "orchestrator/publish.h"
#include "orchestrator/status.h"

enum { TABLE_MAX = 8 * 1024 * 1024, TCP_LISTEN = 0x0A };

/* ---- guests ----------------------------------------------------------------------------------- */

static bool has_forward(const json_t *forwards, const struct forward *f)
{
	size_t i;
	json_t *entry;
	json_array_foreach (forwards, i, entry) {
		struct forward other = {.udp = json_get_bool(entry, "udp", false),
			.host_port = (uint16_t)json_get_int(entry, "port", 0)};
		snprintf(other.host, sizeof(other.host), "%s", json_get_str(entry, "host", ""));
		if (publish_clash(&other, f))
			return true;
	}
	return false;
}

/* By user networking: as its status tells. */
static bool guest_forwards(const struct forward *f, char out[HOLDER_TEXT])
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **ids = NULL;
	_cleanup_close_ int runs = runs_open(&ignored);
	bool found = false;
	if (runs < 0 || dir_names(runs, &ids, NULL, &ignored) < 0)
		return false;
	for (char **id = ids; *id && !found; id++) {
		_cleanup_free_ char *file = str_fmt("%s/status", *id);
		_cleanup_status_ struct status s = {0};
		if (status_read(runs, file, &s, &ignored) < 0)
			continue;
		found = has_forward(s.forwards, f);
		if (found)
			snprintf(out, HOLDER_TEXT, "guest '%s'", s.name);
	}
	return found;
}

/* On a network: as the holder was told of its taps. */
static bool network_publishes(const char *ports, const struct forward *f, char out[HOLDER_TEXT])
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **taps = NULL;
	_cleanup_close_ int dir = dir_open(AT_FDCWD, ports, &ignored);
	bool found = false;
	if (dir < 0 || dir_names(dir, &taps, NULL, &ignored) < 0)
		return false;
	for (char **tap = taps; *tap && !found; tap++) {
		_cleanup_json_ json_t *told = json_file_read(dir, *tap, &ignored);
		found = has_forward(json_object_get(told, "publish"), f);
		if (found)
			snprintf(out, HOLDER_TEXT, "guest '%s'", json_get_str(told, "guest", ""));
	}
	return found;
}

static bool guest_publishes(const struct forward *f, char out[HOLDER_TEXT])
{
	struct err ignored = ERR_INIT;
	const char *run = paths_run(&ignored);
	_cleanup_names_ char **ids = NULL;
	_cleanup_free_ char *path = str_fmt("%s/n", run);
	_cleanup_close_ int networks = run ? dir_open(AT_FDCWD, path, &ignored) : -1;
	bool found = false;
	if (networks < 0 || dir_names(networks, &ids, NULL, &ignored) < 0)
		return false;
	for (char **id = ids; *id && !found; id++) {
		_cleanup_free_ char *ports = str_fmt("%s/%s/ports", path, *id);
		found = network_publishes(ports, f, out);
	}
	return found;
}

/* ---- processes -------------------------------------------------------------------------------- */

/*
 *   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
 *    0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 ...
 *
 * The address is not looked at: whichever it is, it was in the way, or its twin in the other table will be.
 */
static unsigned long inode_in(const char *table, const struct forward *f)
{
	struct err ignored = ERR_INIT;
	_cleanup_buf_ struct buf text = {0};
	_cleanup_close_ int fd = open(table, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fd_read(fd, table, TABLE_MAX, &text, &ignored) < 0 || !text.data)
		return 0;
	char *save = NULL;
	for (char *line = strtok_r(text.data, "\n", &save); line;
		line = strtok_r(NULL, "\n", &save)) {
		unsigned port, state;
		unsigned long inode;
		if (sscanf(line,
			    "%*d: %*[0-9A-F]:%X %*[0-9A-F]:%*X %X %*X:%*X %*X:%*X %*X %*u %*u %lu",
			    &port, &state, &inode) == 3 &&
			port == f->host_port && (f->udp || state == TCP_LISTEN) && inode)
			return inode;
	}
	return 0;
}

static bool has_socket(const char *pid, unsigned long inode)
{
	char target[64], wanted[64];
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **fds = NULL;
	_cleanup_free_ char *path = str_fmt("/proc/%s/fd", pid);
	_cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool found = false;
	snprintf(wanted, sizeof(wanted), "socket:[%lu]", inode);
	if (dir < 0 || dir_names(dir, &fds, NULL, &ignored) < 0)
		return false;
	for (char **fd = fds; *fd && !found; fd++) {
		ssize_t n = readlinkat(dir, *fd, target, sizeof(target) - 1);
		target[n > 0 ? n : 0] = '\0';
		found = str_eq(target, wanted);
	}
	return found;
}

static bool process_has(const struct forward *f, char out[HOLDER_TEXT])
{
	static const char *const tables[2][2] = {
		{"/proc/net/tcp", "/proc/net/tcp6"}, {"/proc/net/udp", "/proc/net/udp6"}};
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **pids = NULL;
	bool six = strchr(f->host, ':');
	unsigned long inode = inode_in(tables[f->udp][six], f);
	inode = inode ? inode : inode_in(tables[f->udp][!six], f);
	_cleanup_close_ int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!inode || proc < 0 || dir_names(proc, &pids, NULL, &ignored) < 0)
		return false;
	for (char **pid = pids; *pid; pid++) {
		_cleanup_buf_ struct buf comm = {0};
		_cleanup_free_ char *file = str_fmt("%s/comm", *pid);
		if (!isdigit((unsigned char)**pid) || !has_socket(*pid, inode))
			continue;
		if (file_read(proc, file, 64, &comm, &ignored) < 0)
			continue;
		snprintf(out, HOLDER_TEXT, "%.*s (process %s)", (int)strcspn(comm.data, "\n"),
			comm.data, *pid);
		return true;
	}
	return false;
}

/* A process of ours has it for a guest, and so it may be with one that we may not look at. */
const char *port_holder(const struct forward *f, char out[HOLDER_TEXT])
{
	char process[HOLDER_TEXT] = "another program";
	bool known = process_has(f, process);
	bool ours = !known || str_starts(process, "roost-") || str_starts(process, "qemu-");
	if (!ours || (!guest_forwards(f, out) && !guest_publishes(f, out)))
		snprintf(out, HOLDER_TEXT, "%s", process);
	return out;
}
