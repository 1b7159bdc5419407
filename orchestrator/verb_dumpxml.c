/* dumpxml, net-dumpxml: a guest and a network as libvirt's XML. */
#include "orchestrator/verbs.h"

#include <stdio.h>

#include "orchestrator/connect.h"
#include "orchestrator/libvirt_ask.h"
#include "orchestrator/record.h"

static int print(const struct cli *cli, const char *xml)
{
	if (!xml)
		return -1;
	if (cli->json)
		cli_print_json(json_pack("{s:s}", "xml", xml));
	else
		fputs(xml, stdout);
	return 0;
}

static int run_dumpxml(const struct cli *cli, struct err *err)
{
	struct found f;
	_cleanup_definition_ struct definition *d =
		guest_find(cli->operands[0], &f, err) < 0 ? NULL : record_read(f.name, err);
	_cleanup_free_ char *xml = d ? libvirt_domain_xml(d, err) : NULL;
	return print(cli, xml);
}

static int run_net_dumpxml(const struct cli *cli, struct err *err)
{
	struct network n;
	_cleanup_free_ char *xml =
		network_find(cli->operands[0], &n, err) < 0 ? NULL : libvirt_network_xml(&n, err);
	return print(cli, xml);
}

const struct verb verb_dumpxml = {"dumpxml", "NAME",
	"Prints a guest's definition as libvirt's XML, as far as that can say it.", 1, 1, false,
	{{0}}, run_dumpxml, "roost dumpxml web1", GROUP_DEFINITION, GUESTS_ALL};
const struct verb verb_net_dumpxml = {"net-dumpxml", "NETWORK",
	"Prints a network's definition as libvirt's XML, with the hosts that have addresses there.",
	1, 1, false, {{0}}, run_net_dumpxml, "roost net-dumpxml default", GROUP_NETWORKS,
	GUESTS_ALL};
