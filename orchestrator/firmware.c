#include "orchestrator/firmware.h"

#include <unistd.h>

#include "base/mem.h"

int firmware_find(struct firmware_files *out, struct err *err)
{
	static const struct firmware_files known[] = {
		{"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"},
		{"/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"},
		{"/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"},
		{"/usr/share/qemu/ovmf-x86_64-code.bin", "/usr/share/qemu/ovmf-x86_64-vars.bin"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (access(known[i].code, R_OK) == 0 && access(known[i].vars, R_OK) == 0) {
			*out = known[i];
			return 0;
		}
	}
	err_set(err, ERR_SYSTEM, "no UEFI firmware is installed");
	return err_hint(err, "install the package ovmf (edk2-ovmf, qemu-ovmf-x86_64)");
}
