#include "orchestrator/policy.h"

#include <string.h>

#include "base/str.h"

const char *const policy_passes[] = {
	"cont",
	"stop",
	"system_reset",
	"system_powerdown",
	"system_wakeup",
	"balloon",
	"set_link",
	"inject-nmi",
	"send-key",
	"input-send-event",
	"qom-list",
	"qom-get",
	"qom-list-types",
	"device-list-properties",
	"qom-list-properties",
	"block_set_io_throttle",
	"block-dirty-bitmap-add",
	"block-dirty-bitmap-remove",
	"block-dirty-bitmap-clear",
	"block-dirty-bitmap-enable",
	"block-dirty-bitmap-disable",
	"job-cancel",
	"job-complete",
	"job-pause",
	"job-resume",
	"watchdog-set-action",
	"rtc-reset-reinjection",
	"announce-self",
	"qmp_capabilities",
	NULL,
};

static const struct {
	const char *command, *instead;
} instead[] = {
	{"quit", "`roost destroy`"},
	{"device_add", "`roost attach-disk` or `roost attach-interface`"},
	{"device_del", "`roost detach-disk` or `roost detach-interface`"},
	{"blockdev-add", "`roost attach-disk`"},
	{"blockdev-del", "`roost detach-disk`"},
	{"block_resize", "`roost blockresize`"},
	{"screendump", "`roost screenshot`"},
};

bool policy_changes(const char *command)
{
	static const char *const looks[] = {"qom-list", "qom-get", "qom-list-types",
		"device-list-properties", "qom-list-properties", "qmp_capabilities"};
	if (str_starts(command, "query-"))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(looks); i++)
		if (str_eq(command, looks[i]))
			return false;
	return true;
}

int policy_check(const char *command, const json_t *args, struct err *err)
{
	(void)args;
	if (str_starts(command, "query-"))
		return 0;
	for (size_t i = 0; policy_passes[i]; i++)
		if (str_eq(command, policy_passes[i]))
			return 0;
	err_set(err, ERR_REFUSED, "command '%.64s' may not be passed through to QEMU", command);
	for (size_t i = 0; i < ARRAY_SIZE(instead); i++)
		if (str_eq(command, instead[i].command))
			return err_hint(err, "use %s", instead[i].instead);
	return err_hint(err, "`roost help --man roost-qmp.7` tells which may");
}
