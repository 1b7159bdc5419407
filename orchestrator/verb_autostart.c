/* autostart: which guests `roost boot` starts, in which order, with what delay. */
#include "orchestrator/verbs.h"

#include <stdio.h>

#include "orchestrator/change.h"
#include "orchestrator/connect.h"

struct wish {
	bool enable;
	const char *order, *delay; /* NULL: as it is */
	uint64_t order_number;
	int64_t delay_ms;
};

static int read_wish(const struct cli *cli, struct wish *w, struct err *err)
{
	w->enable = !cli_flag(cli, "disable");
	w->order = cli_value(cli, "order", NULL);
	w->delay = cli_value(cli, "delay", NULL);
	if (!w->enable && (w->order || w->delay))
		return err_set(err, ERR_USAGE,
			"roost autostart: --disable leaves nothing for --order and --delay to say");
	if (w->order && str_parse_u64(w->order, 0, AUTOSTART_ORDER_MAX, "--order", &w->order_number,
				err) < 0)
		return -1;
	return w->delay ? str_parse_duration(w->delay, "--delay", &w->delay_ms, err) : 0;
}

static void change_autostart(struct definition *d, const void *how)
{
	const struct wish *w = how;
	d->autostart = w->enable;
	if (w->order)
		d->autostart_how.order = (unsigned)w->order_number;
	if (w->delay)
		d->autostart_how.delay_ms = w->delay_ms;
}

static int run_autostart(const struct cli *cli, struct err *err)
{
	struct wish w = {0};
	struct found f;
	if (read_wish(cli, &w, err) < 0 || guest_find(cli->operands[0], &f, err) < 0 ||
		guest_change(&f, change_autostart, &w, err) < 0)
		return -1;
	if (cli->json)
		cli_print_json(json_pack("{s:s, s:b}", "name", f.name, "autostart", w.enable));
	else
		printf("Guest '%s' %s as autostarted\n", f.name, w.enable ? "marked" : "unmarked");
	return 0;
}

const struct verb verb_autostart = {"autostart", "NAME",
	"Has a guest started when the host boots, or no longer.", 1, 1, false,
	{{"disable", NULL, 0, "no longer; its order and delay are forgotten"},
		{"order", "N", 0, "0 to 9999; lower ones start first; 100 unless told"},
		{"delay", "TIME", 0, "waited after its start, before the next guest's: 5s"}},
	run_autostart, "roost autostart web1 --order 10 --delay 5s", GROUP_DEFINITION, GUESTS_ALL};
