/* image info: what qemu-img tells of an image, from its header alone. */
#include "orchestrator/verbs.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "images/image_info.h"
#include "orchestrator/store_open.h"

/* The file of that name, else that of the store's image. */
static char *path_of(const char *word)
{
	struct err none = ERR_INIT;
	_cleanup_store_ struct store s = STORE_NONE;
	_cleanup_store_image_ struct store_image i = {0};
	if (access(word, F_OK) < 0 && !strchr(word, '/') && store_open(&s, &none) == 0 &&
		store_find(&s, word, &i, &none) == 0)
		return store_image_path(&s, &i);
	return xstrdup(word);
}

static int run_info(const struct cli *cli, struct err *err)
{
	enum image_format format;
	_cleanup_free_ char *path = path_of(cli->operands[0]);
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
