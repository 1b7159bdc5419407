/*
 * The operations of sysprep as a script for the guest's own shell, for systems whose file systems are not
 * read here. It finds what roost-sysprep finds, makes all file systems read-only, and ends with the line SYSPREP_DONE on
 * standard output. Whoever reads that ends the machine, without its services having a word: they would write anew what
 * was removed.
 */
#ifndef IMAGES_SYSPREP_SCRIPT_H
#define IMAGES_SYSPREP_SCRIPT_H

#include <jansson.h>

#define SYSPREP_DONE "ROOST-SYSPREP-DONE"

/*
 * `operations`: their names. `removed`: patterns of what goes after these, or NULL. `archive`, if it is not NULL, is a tar archive there, which is unpacked from the root
 * on when all is cleaned, and removed; where that fails, the script does. Freed by the caller.
 */
char *sysprep_script(const json_t *operations, const json_t *removed, const char *archive);

#endif
