#include "orchestrator/verbs.h"

const struct verb *const verbs[] = {
	&verb_define, &verb_undefine, &verb_start, &verb_list, &verb_domstate, &verb_dominfo,
	&verb_suspend, &verb_resume, &verb_reset, &verb_destroy, &verb_version, &verb_help,
	NULL,
};
