/* setmem, setmaxmem, setvcpus: how large a guest is. Bare numbers are KiB here. */
#include "orchestrator/compat/virsh.h"

#include <inttypes.h>

enum { KIB = 1024, LEAST_MEMORY = 16 << 20 };

static const char not_running[] = "Requested operation is not valid: domain is not running";

/* --live and --config as they are; --current is what no flag means. */
static void take_when(const struct virsh *v, struct words *w)
{
	if (virsh_flag(v, "live"))
		words_add(w, "--live");
	if (virsh_flag(v, "config"))
		words_add(w, "--config");
}

static int look(const struct found *f, json_t **info)
{
	struct err err = ERR_INIT;
	return compat_ask("dominfo", f->name, info, &err) < 0 ? virsh_reason(&err) : 0;
}

/* virsh's setmem and setvcpus mean --live where nothing is said. */
static bool wants_running(const struct virsh *v)
{
	return virsh_flag(v, "live") || (!virsh_flag(v, "config") && !virsh_flag(v, "current"));
}

/* Does what is asked for change the guest that runs, or else its next start? */
static bool is_live(const struct virsh *v, const struct found *f)
{
	return virsh_flag(v, "live") || (!virsh_flag(v, "config") && guest_runs(f));
}

static int run_setmem(struct virsh *v)
{
	struct found f;
	uint64_t bytes = 0;
	_cleanup_words_ struct words w = {0};
	_cleanup_json_ json_t *info = NULL;
	if (virsh_domain(v, &f) < 0 || virsh_scaled(v, "size", KIB, &bytes) < 0 ||
		look(&f, &info) < 0)
		return -1;
	if (!guest_runs(&f) && wants_running(v))
		return virsh_error("%s", not_running);
	const char *most = is_live(v, &f) ? "current_max_memory" : "max_memory";
	if (bytes > (uint64_t)json_get_int(info, most, 0))
		return virsh_error("invalid argument: cannot set memory higher than max memory");
	if (!bytes)
		return virsh_error("memory in virDomainSetMemoryFlags must not be zero");
	if (bytes <
		LEAST_MEMORY) /* libvirt takes it, and the guest is dead: KiB were MiB in a head */
		return virsh_error("invalid argument: %" PRIu64
				   " KiB would leave the guest nothing to run in; "
				   "a bare number is KiB: say %" PRIu64 "M",
			bytes / KIB, bytes / KIB);
	words_add(&w, f.name);
	words_fmt(&w, "%" PRIu64 "K", (bytes + KIB - 1) / KIB);
	take_when(v, &w);
	return virsh_ask(v, NULL, &w, "setmem", NULL);
}

static int run_setmaxmem(struct virsh *v)
{
	struct found f;
	uint64_t bytes = 0;
	_cleanup_words_ struct words w = {0};
	if (virsh_domain(v, &f) < 0 || virsh_scaled(v, "size", KIB, &bytes) < 0)
		return -1;
	if (!guest_runs(&f) && virsh_flag(v, "live")) {
		virsh_error("Unable to change MaxMemorySize");
		return virsh_error("%s", not_running);
	}
	if (guest_runs(&f) && (virsh_flag(v, "live") || !virsh_flag(v, "config"))) {
		virsh_error("Unable to change MaxMemorySize");
		return virsh_error(
			"Requested operation is not valid: cannot resize the maximum memory on an "
			"active domain");
	}
	if (bytes < LEAST_MEMORY) {
		virsh_error("Unable to change MaxMemorySize");
		return virsh_error("invalid argument: %" PRIu64
				   " KiB are too few to run in; a bare number is KiB",
			bytes / KIB);
	}
	words_add(&w, f.name);
	words_fmt(&w, "%" PRIu64 "K", (bytes + KIB - 1) / KIB);
	return virsh_ask(v, NULL, &w, "setmaxmem", NULL);
}

static int check_vcpus(
	const struct virsh *v, const struct found *f, const json_t *info, int64_t count)
{
	bool live = is_live(v, f);
	int64_t most = json_get_int(info, live ? "current_max_vcpus" : "max_vcpus", 0);
	if (count <= most || virsh_flag(v, "maximum"))
		return 0;
	return virsh_error(
		"invalid argument: requested vcpus is greater than max allowable vcpus for the %s "
		"domain: %lld > %lld",
		live ? "live" : "persistent", (long long)count, (long long)most);
}

static int run_setvcpus(struct virsh *v)
{
	struct found f;
	int64_t count = 0;
	_cleanup_words_ struct words w = {0};
	_cleanup_json_ json_t *info = NULL;
	if (virsh_flag(v, "guest") && virsh_flag(v, "config"))
		return virsh_error("Options --guest and --config are mutually exclusive");
	if (virsh_flag(v, "maximum") && !virsh_flag(v, "config"))
		return virsh_error("Option --config is required by option --maximum");
	if (virsh_flag(v, "maximum") && virsh_flag(v, "live"))
		return virsh_error("Options --maximum and --live are mutually exclusive");
	if (virsh_domain(v, &f) < 0 || virsh_number(v, "count", 0, INT32_MAX, &count) < 0)
		return -1;
	if (count == 0)
		return virsh_error("Can't set 0 processors for a VM");
	if (!guest_runs(&f) && wants_running(v))
		return virsh_error("%s", not_running);
	if (virsh_flag(v, "guest"))
		return guest_runs(&f) ? virsh_guest_use_vcpus(&f, count)
				      : virsh_error("%s", not_running);
	if (look(&f, &info) < 0 || check_vcpus(v, &f, info, count) < 0)
		return -1;
	words_add(&w, f.name);
	words_fmt(&w, "%lld", (long long)count);
	take_when(v, &w);
	if (virsh_flag(v, "maximum"))
		words_add(&w, "--maximum");
	return virsh_ask(v, NULL, &w, "setvcpus", NULL);
}

const struct virsh_command virsh_sizes[] = {
	{"setmem", {V_DOMAIN, {"size", V_NEED_INT}, V_CURRENT}, run_setmem,
		"change memory allocation", NULL, true},
	{"setmaxmem", {V_DOMAIN, {"size", V_NEED_INT}, V_CURRENT}, run_setmaxmem,
		"change maximum memory limit", NULL, true},
	{"setvcpus",
		{V_DOMAIN, {"count", V_NEED_INT}, {"maximum", V_FLAG}, V_CURRENT, {"guest", V_FLAG},
			{"hotpluggable", V_FLAG}},
		run_setvcpus, "change number of virtual CPUs", NULL, true},
	{0},
};
