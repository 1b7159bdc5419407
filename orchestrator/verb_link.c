/* domif-setlink, domif-getlink: the cable of an interface. */
#include "orchestrator/verbs.h"

#include <stdio.h>
#include <strings.h>

#include "base/str.h"
#include "orchestrator/change.h"
#include "orchestrator/look_net.h"
#include "orchestrator/record.h"

struct wish {
	const char *word;
	bool down, found;
};

static void set_link_of(struct definition *d, const void *how)
{
	struct wish *w = *(struct wish *const *)how;
	for (size_t i = 0; i < d->nic_count; i++) {
		_cleanup_free_ char *name = str_fmt("nic%zu", i);
		if (!str_eq(name, w->word) && strcasecmp(d->nics[i].mac, w->word) != 0)
			continue;
		d->nics[i].link_down = w->down;
		w->found = true;
	}
}

static int refuse_unknown(const char *guest, const char *word, struct err *err)
{
	err_set(err, ERR_NOT_FOUND, "the definition of guest '%s' has no interface '%s'", guest,
		word);
	return err_hint(err, "what was plugged is there until the guest ends");
}

/* For its next start. */
static int configure(const struct found *f, const char *word, bool down, struct err *err)
{
	struct wish w = {.word = word, .down = down}, *how = &w;
	if (guest_change(f, set_link_of, &how, err) < 0)
		return -1;
	return w.found ? 0 : refuse_unknown(f->name, word, err);
}

static int run_setlink(const struct cli *cli, struct err *err)
{
	_cleanup_look_ struct look l = LOOK_NONE;
	const char *word = cli->operands[1], *state = cli->operands[2];
	bool down = str_eq(state, "down");
	if (!down && !str_eq(state, "up"))
		return err_set(err, ERR_USAGE, "'%.40s' is neither up nor down", state);
	if (look_at(&l, cli->operands[0], err) < 0)
		return -1;
	_cleanup_json_ json_t *nics = look_nics(&l, err);
	const json_t *nic = nics ? look_nic(&l, nics, word, err) : NULL;
	bool config = cli_flag(cli, "config");
	if (!nic || (!config && look_refuse_stopped(&l, err) < 0))
		return -1;
	const char *name = json_get_str(nic, "interface", "");
	if (config ? configure(&l.f, name, down, err) < 0
		   : guest_call(l.f.name, "roost-set-link",
			     json_pack("{s:s, s:b}", "interface", name, "up", !down), NULL,
			     err) < 0)
		return -1;
	if (cli->json)
		cli_print_json(json_pack("{s:s, s:s}", "interface", name, "link", state));
	else
		printf("Interface %s of guest '%s' is %s%s\n", name, l.f.name, state,
			config ? " from the next start on" : "");
	return 0;
}

/* As its definition has it. */
static int look_configured(const struct found *f, const char *name, bool *down, struct err *err)
{
	_cleanup_definition_ struct definition *d = record_read(f->name, err);
	for (size_t i = 0; d && i < d->nic_count; i++) {
		_cleanup_free_ char *own = str_fmt("nic%zu", i);
		if (str_eq(own, name)) {
			*down = d->nics[i].link_down;
			return 0;
		}
	}
	return d ? refuse_unknown(f->name, name, err) : -1;
}

static int run_getlink(const struct cli *cli, struct err *err)
{
	_cleanup_look_ struct look l = LOOK_NONE;
	if (look_at(&l, cli->operands[0], err) < 0)
		return -1;
	_cleanup_json_ json_t *nics = look_nics(&l, err);
	const json_t *nic = nics ? look_nic(&l, nics, cli->operands[1], err) : NULL;
	if (!nic)
		return -1;
	const char *name = json_get_str(nic, "interface", ""),
		   *link = json_get_str(nic, "link", "");
	bool down = false;
	if (cli_flag(cli, "config")) {
		if (look_configured(&l.f, name, &down, err) < 0)
			return -1;
		link = down ? "down" : "up";
	}
	if (cli->json)
		cli_print_json(json_pack("{s:s, s:s}", "interface", name, "link", link));
	else
		printf("%s %s\n", name, link);
	return 0;
}

const struct verb verb_domif_setlink = {"domif-setlink", "NAME INTERFACE up|down",
	"Pulls the cable of an interface, or plugs it in again.", 3, 3, false,
	{{"config", NULL, 0, "only from its next start on"}}, run_setlink,
	"roost domif-setlink web1 nic0 down", GROUP_DEVICES, GUESTS_RUNNING};
const struct verb verb_domif_getlink = {"domif-getlink", "NAME INTERFACE",
	"Tells whether the cable of an interface is plugged in.", 2, 2, false,
	{{"config", NULL, 0, "what its next start has"}}, run_getlink,
	"roost domif-getlink web1 nic0", GROUP_LOOK, GUESTS_ALL};
