/*
 * Runs a fuzzer's corpus as an ordinary test, with any compiler: each file named (or each file in
 * a folder named) goes to LLVMFuzzerTestOneInput() once. That it returns is the test.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"

enum { INPUT_MAX = 64 * 1024 * 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(const char *path, size_t *inputs)
{
	struct err err = ERR_INIT;
	_cleanup_buf_ struct buf text = {0};
	if (file_read(AT_FDCWD, path, INPUT_MAX, &text, &err) < 0) {
		fprintf(stderr, "%s\n", err.message);
		return -1;
	}
	/* a copy of exactly that size: a sanitizer then sees every step beyond it */
	_cleanup_free_ uint8_t *copy = xcalloc(text.len, 1);
	if (text.len)
		memcpy(copy, text.data, text.len);
	LLVMFuzzerTestOneInput(copy, text.len);
	++*inputs;
	return 0;
}

static int run(const char *path, size_t *inputs)
{
	struct stat st;
	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		return run_file(path, inputs);
	_cleanup_names_ char **names = NULL;
	size_t count;
	struct err err = ERR_INIT;
	_cleanup_close_ int dir = dir_open(AT_FDCWD, path, &err);
	if (dir < 0 || dir_names(dir, &names, &count, &err) < 0) {
		fprintf(stderr, "%s\n", err.message);
		return -1;
	}
	for (size_t i = 0; i < count; i++) {
		_cleanup_free_ char *file = str_fmt("%s/%s", path, names[i]);
		if (run_file(file, inputs) < 0)
			return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');
	size_t inputs = 0;
	for (int i = 1; i < argc; i++)
		if (run(argv[i], &inputs) < 0)
			return EXIT_FAILURE;
	printf("%s: %zu inputs\n", slash ? slash + 1 : argv[0], inputs);
	return inputs ? EXIT_SUCCESS : EXIT_FAILURE;
}
