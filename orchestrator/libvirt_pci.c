/* Where devices are on PCI: of libvirt's controllers and addresses to the numbers that the guest sees. */
#include <stdlib.h>

#include "base/str.h"
#include "orchestrator/libvirt_part.h"

enum { BRIDGES_MAX = 256 };

struct bridge {
	unsigned index; /* libvirt's number of the bus behind it */
	unsigned bus, slot, function;
	bool port; /* a root port */
	bool strange;
	unsigned number; /* the guest's, of the bus behind it; 0: not reached */
};

struct bridges {
	struct bridge all[BRIDGES_MAX];
	size_t count;
};

static int by_place(const void *a, const void *b)
{
	const struct bridge *x = a, *y = b;
	unsigned left = x->slot * 8 + x->function, right = y->slot * 8 + y->function;
	return left < right ? -1 : left > right;
}

static void collect(const xmlNode *devices, struct bridges *b)
{
	for (xmlNode *n = x_child(devices, "controller"); n; n = x_next(n)) {
		const char *model = x_attr(n, "model");
		const xmlNode *at = x_child(n, "address");
		if (!x_attr_is(n, "type", "pci") || !model || str_ends(model, "-root") ||
			b->count == BRIDGES_MAX)
			continue;
		b->all[b->count++] = (struct bridge){.index = x_number(n, "index", 0),
			.bus = x_number(at, "bus", 0),
			.slot = x_number(at, "slot", 0),
			.function = x_number(at, "function", 0),
			.port = str_eq(model, "pcie-root-port"),
			.strange = str_starts(model, "pcie-expander") ||
				   str_starts(model, "pci-expander")};
	}
	qsort(b->all, b->count, sizeof(b->all[0]), by_place);
}

/* As firmware does: slot by slot, and into each bridge before the next. */
static void count_buses(struct bridges *b, unsigned bus, unsigned *last)
{
	for (size_t i = 0; i < b->count; i++) {
		if (b->all[i].bus != bus || b->all[i].number || b->all[i].index == bus)
			continue;
		b->all[i].number = ++*last;
		count_buses(b, b->all[i].index, last);
	}
}

static const struct bridge *find(const struct bridges *b, unsigned index)
{
	for (size_t i = 0; i < b->count; i++)
		if (b->all[i].index == index)
			return &b->all[i];
	return NULL;
}

int libvirt_pci(const xmlNode *devices, const xmlNode *address, bool old, struct libvirt_pci *out)
{
	if (!address || !x_attr_is(address, "type", "pci") || !x_attr(address, "slot"))
		return 1;
	unsigned bus = x_number(address, "bus", 0), last = 0;
	out->slot = x_number(address, "slot", 0);
	if (x_number(address, "domain", 0) || x_number(address, "function", 0))
		return -1;
	if (!bus) {
		out->bus = 0;
		return 0;
	}
	struct bridges b = {.count = 0};
	collect(devices, &b);
	count_buses(&b, 0, &last);
	const struct bridge *behind = find(&b, bus);
	for (size_t i = 0; i < b.count; i++)
		if (b.all[i].strange)
			return -1;
	if (old || !behind || !behind->port || behind->bus || out->slot || !behind->number)
		return -1;
	out->bus = behind->number;
	return 0;
}
