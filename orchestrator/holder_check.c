/*
 * Whether what the holder has made is still there. Guards that somebody else has removed (`nft flush ruleset` reaches
 * those of mode bridge) are put back at once; the rest is told, for `roost doctor`.
 */
#include "orchestrator/holder.h"

#include <net/if.h>

#include "base/clock.h"
#include "base/str.h"

enum { CALM_MS = 1000 }; /* between two looks at rules that change and change */

static void tell(json_t *out, const char *kind, const char *name, const char *why)
{
	json_array_append_new(
		out, json_pack("{s:s, s:s, s:s}", "kind", kind, "name", name, "why", why));
}

static void check_links(struct holder *h, json_t *out)
{
	struct err ignored = ERR_INIT;
	int bridge = link_index(h->links, h->bridge_name, &ignored);
	if (bridge != h->bridge) {
		tell(out, "bridge", h->bridge_name,
			bridge < 0 ? "it is gone: no guest reaches another"
				   : "it is another one than the guests are on");
		return;
	}
	for (const struct port *p = h->ports; p; p = p->next)
		if (link_master(h->links, p->link, &ignored) != bridge) {
			_cleanup_free_ char *why =
				str_fmt("guest '%s' has it, and it is not on the bridge '%s'",
					json_get_str(p->told, "guest", "?"), h->bridge_name);
			tell(out, "tap", p->tap, why);
		}
}

json_t *holder_check(struct holder *h, struct err *err)
{
	ports_look(h); /* what has just gone is no difference */
	json_t *out = ports_check_guards(h, err);
	if (out)
		check_links(h, out);
	return out;
}

void rules_look(struct holder *h)
{
	struct err ignored = ERR_INIT;
	h->rules_changed = nft_watch_look(h->rules) || h->rules_changed;
	if (!h->rules_changed || deadline_left(h->rules_calm))
		return;
	h->rules_changed = false;
	h->rules_calm = deadline_in(CALM_MS);
	ports_look(h);
	_cleanup_json_ json_t *differs = ports_check_guards(h, &ignored);
	if (!differs || json_array_size(differs))
		holder_guard(h, &ignored);
}

int64_t rules_deadline(const struct holder *h)
{
	return h->rules_changed ? h->rules_calm : DEADLINE_NONE;
}
