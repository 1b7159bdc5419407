#include "images/seed_password.h"

#include <crypt.h>
#include <string.h>

#include "base/mem.h"

char *seed_hash_password(const char *password, const char *old, struct err *err)
{
	static struct crypt_data work;
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];
	const char *hash = old[0] ? crypt_rn(password, old, &work, sizeof(work)) : NULL;
	if (!hash || strcmp(hash, old) != 0) {
		/* its default of 5000 rounds: what passwd(1) takes in the guests */
		hash = crypt_gensalt_rn("$6$", 0, NULL, 0, setting, sizeof(setting))
			       ? crypt_rn(password, setting, &work, sizeof(work))
			       : NULL;
	}
	char *copy = xstrdup(hash);
	if (!copy)
		err_errno(err, "cannot hash the password");
	explicit_bzero(&work, sizeof(work));
	return copy;
}
