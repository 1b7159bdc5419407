/* image info: what qemu-img tells of an image, from its header alone. */
#include "orchestrator/verbs.h"

#include <stdio.h>

#include "images/image_info.h"
#include "orchestrator/store_open.h"

static int run_info(const struct cli *cli, struct err *err)
{
	enum image_format format;
	_cleanup_free_ char *path = store_path_of(cli->operands[0]);
	bool chain = cli_flag(cli, "backing-chain");
	if (image_format_parse(cli_value(cli, "format", NULL), &format, err) < 0)
		return -1;
	json_t *told = chain ? image_info_chain(path, format, err) : image_info(path, format, err);
	if (!told)
		return -1;
	if (cli->json) {
		cli_print_json(told);
		return 0;
	}
	if (!chain)
		image_info_print(told);
	for (size_t i = 0; i < json_array_size(told); i++) {
		if (i)
			putchar('\n');
		image_info_print(json_array_get(told, i));
	}
	json_decref(told);
	return 0;
}

const struct verb verb_image_info = {"image info", "FILE",
	"Tells the format, sizes, backing file and options of a file, or of an image of the store, as qemu-img info does.",
	1, 1, false,
	{{"backing-chain", NULL, 0, "also of all that it stands on"},
		{"format", "qcow2|raw", 'f', "what it is; without: by its content"}},
	run_info, "roost image info data.qcow2 --json", GROUP_IMAGES, GUESTS_ALL};
