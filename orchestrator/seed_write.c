/* The children that make seeds: roost-ssh and roost-image. What is secret goes over pipes. */
#include "orchestrator/seed_write.h"

#include <unistd.h>

#include "base/answer.h"
#include "orchestrator/paths.h"

enum { CHILD_MS = 20000 };

json_t *seed_ask(const char *program, const char *subcommand, const char *argument,
	const struct buf *input, struct err *err)
{
	const char *argv[] = {libexec_path(program), subcommand, argument, NULL};
	if (access(argv[0], X_OK) < 0) {
		err_set(err, ERR_SYSTEM, "the program '%s' is not installed, which makes seeds",
			program);
		err_hint(err, "build roost with its library: `roost validate` names it");
		return NULL;
	}
	return child_answer(
		argv, input ? input->data : NULL, input ? input->len : 0, CHILD_MS, err);
}

int seed_write(const struct seed_files *files, const struct seed_kind *kind, const char *out,
	struct err *err)
{
	_cleanup_secret_ struct buf request = {0};
	seed_request(files, kind, &request);
	_cleanup_json_ json_t *answer = seed_ask("roost-image", "seed", out, &request, err);
	return answer ? 0 : -1;
}
