/*
 * roost-xml: libvirt's XML (libvirt_xml.h), with libxml2, as a program of its own so that nobody else links it
 * and anybody's XML is read where it can do no harm.
 *
 *	roost-xml read FILE	the XML on standard input, which FILE names in errors: libvirt_read()'s answer
 *	roost-xml domain	a request on standard input, {"definition": {...}, "folder": PATH, "emulator": PATH}:
 *				{"xml": TEXT}
 *	roost-xml network	{"definition": {...}, "hosts": [...]}: the same
 *
 * An error is {"error": {...}}, and the exit status of its kind. It shuts itself off from all but its standard
 * input and output (seccomp).
 */
#include <libxml/parser.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "images/sysprep_jail.h"
#include "orchestrator/libvirt_xml.h"

static json_t *make(bool domain, const struct buf *input, struct err *err)
{
	_cleanup_json_ json_t *request =
		json_loadb(input->data, input->len, JSON_REJECT_DUPLICATES, NULL);
	if (!request) {
		err_set(err, ERR_USAGE, "the request is no JSON");
		return NULL;
	}
	_cleanup_free_ char *xml =
		domain ? libvirt_write_domain(request, err) : libvirt_write_network(request, err);
	return xml ? json_pack("{s:s}", "xml", xml) : NULL;
}

static json_t *run(int argc, char **argv, const struct buf *input, struct err *err)
{
	if (argc == 3 && str_eq(argv[1], "read"))
		return libvirt_read(input->data, input->len, argv[2], err);
	if (argc == 2 && (str_eq(argv[1], "domain") || str_eq(argv[1], "network")))
		return make(str_eq(argv[1], "domain"), input, err);
	err_set(err, ERR_USAGE,
		"usage: roost-xml read FILE < XML, domain < REQUEST, or network < REQUEST");
	return NULL;
}

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;
	_cleanup_buf_ struct buf input = {0};
	buf_reserve(&input, 1);
	xmlInitParser();
	json_t *answer = sysprep_jail(&err) < 0 || fd_read(STDIN_FILENO, "standard input",
							   LIBVIRT_XML_MAX, &input, &err) < 0
				 ? NULL
				 : run(argc, argv, &input, &err);
	int status = answer ? 0 : err_exit_code(err.kind);
	if (!answer)
		answer = json_pack("{s:o}", "error", json_from_err(&err));
	_cleanup_free_ char *line = json_line(answer);
	json_decref(answer);
	fputs(line, stdout);
	fflush(stdout);
	return status;
}
