#include "orchestrator/event_log.h"

#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "orchestrator/access.h"

enum { EVENTS_FILE_MAX = 1024 * 1024 };

static char *line_of(const json_t *event)
{
	char stamp[32];
	_cleanup_json_ json_t *line = json_pack("{s:s}", "time", clock_stamp(stamp));
	json_object_update(line, (json_t *)event);
	json_object_del(line, "timestamp");
	return json_line(line);
}

static void turn_over(int dir)
{
	struct stat st;
	if (fstatat(dir, "events.jsonl", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		st.st_size > EVENTS_FILE_MAX)
		renameat(dir, "events.jsonl", dir, "events.jsonl.1");
}

void event_log_append(int dir, const json_t *event)
{
	struct err ignored = ERR_INIT; /* a full disk must not keep us from serving */
	_cleanup_free_ char *text = line_of(event);
	turn_over(dir);
	file_append_line(dir, "events.jsonl", text, &ignored);
}

void event_log_append_as(int dir, uid_t keeper, const json_t *event)
{
	struct err ignored = ERR_INIT;
	_cleanup_free_ char *text = line_of(event);
	_cleanup_free_ char *line = str_fmt("%s\n", text);
	turn_over(dir);
	_cleanup_close_ int fd =
		access_open(dir, "events.jsonl", O_WRONLY | O_APPEND, 0640, keeper, &ignored);
	if (fd >= 0)
		write_all(fd, line, strlen(line));
}

static void add_user(json_t *who, uid_t uid)
{
	FILE *users = fopen("/etc/passwd", "re");
	const struct passwd *user = NULL;
	while (users && (user = fgetpwent(users)))
		if (user->pw_uid == uid)
			break;
	if (user)
		json_object_set_new(who, "user", json_string(user->pw_name));
	if (users)
		fclose(users);
}

json_t *event_who(const struct sock_peer *peer)
{
	json_t *who = json_pack("{s:I, s:i}", "uid", (json_int_t)peer->uid, "pid", (int)peer->pid);
	add_user(who, peer->uid);
	return who;
}

json_t *event_command(const char *guest, const char *command, json_t *who)
{
	json_t *data = json_pack("{s:s, s:s}", "guest", guest, "command", command);
	json_object_update_missing_new(data, who);
	return data;
}

json_t *event_network(const char *network, const char *command, json_t *who)
{
	json_t *data = json_pack("{s:s*, s:s}", "network", network, "command", command);
	json_object_update_missing_new(data, who);
	return data;
}

json_t *event_image(const char *image, const char *command, json_t *who)
{
	json_t *data = json_pack("{s:s*, s:s}", "image", image, "command", command);
	json_object_update_missing_new(data, who);
	return data;
}
