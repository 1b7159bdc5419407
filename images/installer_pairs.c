#include "images/installer.h"

#include "base/mem.h"

const struct installer_pair installer_pairs[] = {
	/* media */
	{"install.amd/vmlinuz", "install.amd/initrd.gz"}, /* Debian */
	{"casper/vmlinuz", "casper/initrd"},              /* Ubuntu */
	{"casper/vmlinuz", "casper/initrd.lz"},
	{"casper/vmlinuz", "casper/initrd.gz"},
	{"install/vmlinuz", "install/initrd.gz"},                /* Ubuntu until 20.04 */
	{"images/pxeboot/vmlinuz", "images/pxeboot/initrd.img"}, /* Fedora, RHEL; trees, too */
	{"isolinux/vmlinuz", "isolinux/initrd.img"},
	{"boot/x86_64/loader/linux", "boot/x86_64/loader/initrd"}, /* openSUSE, SLES */
	{"arch/boot/x86_64/vmlinuz-linux", "arch/boot/x86_64/initramfs-linux.img"},
	{"boot/vmlinuz-lts", "boot/initramfs-lts"}, /* Alpine */
	{"boot/vmlinuz-virt", "boot/initramfs-virt"},
	{"boot/vmlinuz", "boot/initrd"},
	{"boot/vmlinuz", "boot/initrd.gz"},
	{"boot/vmlinuz", "boot/initrd.img"},
	/* trees */
	{"debian-installer/amd64/linux", "debian-installer/amd64/initrd.gz"},
	{"images/netboot/debian-installer/amd64/linux",
		"images/netboot/debian-installer/amd64/initrd.gz"},
	{"current/images/netboot/debian-installer/amd64/linux",
		"current/images/netboot/debian-installer/amd64/initrd.gz"},
	{"main/installer-amd64/current/images/netboot/debian-installer/amd64/linux",
		"main/installer-amd64/current/images/netboot/debian-installer/amd64/initrd.gz"},
	{"main/installer-amd64/current/legacy-images/netboot/ubuntu-installer/amd64/linux",
		"main/installer-amd64/current/legacy-images/netboot/ubuntu-installer/amd64/initrd.gz"},
	{"linux", "initrd.gz"},
	{"vmlinuz", "initrd.img"},
	{"vmlinuz", "initrd.gz"},
	{"vmlinuz", "initrd"},
};
const size_t installer_pair_count = ARRAY_SIZE(installer_pairs);
