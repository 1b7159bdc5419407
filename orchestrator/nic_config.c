#include "orchestrator/nic_config.h"

#include <string.h>

#include "base/str.h"
#include "orchestrator/change.h"
#include "orchestrator/record.h"

struct change {
	const json_t *nic; /* to be added */
	const char *mac;   /* or removed */
	struct err *err;
	int result;
};

static int too_many(const char *guest, struct err *err)
{
	return err_set(err, ERR_REFUSED, "guest '%s' has %d interfaces already", guest, NICS_MAX);
}

int nic_config_room(const struct found *f, struct err *err)
{
	_cleanup_definition_ struct definition *d = record_read(f->name, err);
	if (!d)
		return -1;
	return d->nic_count == NICS_MAX ? too_many(f->name, err) : 0;
}

static void add(struct definition *d, const void *how)
{
	struct change *c = *(struct change *const *)how;
	c->result = d->nic_count == NICS_MAX
			    ? too_many(d->name, c->err)
			    : nic_from_json(c->nic, &d->nics[d->nic_count], c->err);
	if (c->result == 0)
		d->nic_count++;
}

static size_t find(const struct definition *d, const char *mac)
{
	size_t i = 0;
	while (i < d->nic_count && !str_eq(d->nics[i].mac, mac))
		i++;
	return i;
}

static void drop(struct definition *d, const void *how)
{
	struct change *c = *(struct change *const *)how;
	size_t i = find(d, c->mac);
	if (i == d->nic_count) {
		c->result = err_set(c->err, ERR_NOT_FOUND,
			"guest '%s' has no interface %s at its next start", d->name, c->mac);
		return;
	}
	memmove(&d->nics[i], &d->nics[i + 1], (--d->nic_count - i) * sizeof(d->nics[0]));
}

int nic_config_add(const struct found *f, const json_t *nic, struct err *err)
{
	struct change c = {.nic = nic, .err = err}, *how = &c;
	return guest_change(f, add, &how, err) < 0 ? -1 : c.result;
}

int nic_config_remove(const struct found *f, const char *mac, struct err *err)
{
	struct change c = {.mac = mac, .err = err}, *how = &c;
	return guest_change(f, drop, &how, err) < 0 ? -1 : c.result;
}

bool nic_config_has(const struct found *f, const char *mac)
{
	struct err none = ERR_INIT;
	_cleanup_definition_ struct definition *d = record_read(f->name, &none);
	return d && find(d, mac) < d->nic_count;
}
