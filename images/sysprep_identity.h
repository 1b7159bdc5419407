/*
 * What tells a system from those that it was cloned of: its machine-id is emptied, so that it makes a new one at
 * its next boot, and each SSH host key is replaced by a new one of its type. Nothing else is changed.
 */
#ifndef IMAGES_SYSPREP_IDENTITY_H
#define IMAGES_SYSPREP_IDENTITY_H

#include "base/json.h"
#include "images/ext_tree.h"

/*
 * Which keys are wanted is told by a line {"wants": ["ssh-rsa", ...]} on standard output, unless there are none;
 * then a line {"ssh-rsa": {"private", "public"}, ...} is read from `keys`. `report` gets "host_key": the public one
 * that the SSH server shows to who asks for its type.
 */
int sysprep_identity(struct ext_tree *t, int keys, json_t *report, struct err *err);

#endif
