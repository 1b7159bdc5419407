/* --print-xml: the guest as libvirt's XML (libvirt_ask.h), once as its installer runs, and once as it is afterwards. */
#include "orchestrator/compat/virt_install.h"

#include <stdio.h>
#include <string.h>

#include "orchestrator/libvirt_ask.h"
#include "orchestrator/record.h"

/* What roostd would issue. */
static void issue(struct definition *d)
{
	if (!d->uuid[0])
		uuid_new(d->uuid);
	for (size_t i = 0; i < d->nic_count; i++)
		if (!d->nics[i].mac[0])
			mac_new(d->nics[i].mac);
}

static void set_text(char **to, const char *text)
{
	char *copy = xstrdup(text);
	free(*to);
	*to = copy;
}

/* As install.h has the first run. */
static void add_installer(struct definition *d, const json_t *facts)
{
	const char *medium = json_get_str(facts, "medium", NULL);
	bool kernel = json_get_bool(facts, "kernel", false);
	for (size_t i = 0; medium && i < d->disk_count; i++)
		if (d->disks[i].cdrom && !d->disks[i].path) {
			set_text(&d->disks[i].path, medium);
			break;
		}
	if (kernel) {
		set_text(&d->kernel, "/installer/kernel");
		set_text(&d->initrd, "/installer/initrd");
		set_text(&d->cmdline, json_get_str(facts, "cmdline", NULL));
	} else {
		d->boot[0] = BOOT_CDROM;
		d->boot[1] = BOOT_DISK;
		d->boot_count = 2;
	}
	d->on_reboot = ON_REBOOT_DESTROY;
}

static int print_steps(struct definition *d, const json_t *facts, const char *step, struct err *err)
{
	bool all = str_eq(step, "all");
	_cleanup_free_ char *after = libvirt_domain_xml(d, err);
	if (facts)
		add_installer(d, facts);
	_cleanup_free_ char *first = after ? libvirt_domain_xml(d, err) : NULL;
	if (!first)
		return -1;
	if (all || str_eq(step, "1"))
		fputs(first, stdout);
	if (facts && (all || str_eq(step, "2")))
		fputs(after, stdout);
	putchar('\n'); /* as virtinst prints it */
	return 0;
}

int print_xml(const struct install_ask *a, const char *step)
{
	struct err err = ERR_INIT;
	step = step[0] ? step : "all";
	if (!str_eq(step, "1") && !str_eq(step, "2") && !str_eq(step, "all"))
		err_set(&err, ERR_USAGE, "Unknown XML step request '%s', must be 1, 2, or all",
			step);
	else if (str_eq(step, "2") && !a->how.facts)
		err_set(&err, ERR_USAGE, "Requested installation does not have XML step 2");
	if (err.message[0])
		return install_fail(&err);
	_cleanup_definition_ struct definition *d =
		a->reinstall ? record_read(a->reinstall, &err) : ask_definition(a, false, &err);
	if (!d)
		return install_fail(&err);
	issue(d);
	return print_steps(d, a->how.facts, step, &err) < 0 ? install_fail(&err) : 0;
}
