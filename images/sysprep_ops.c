#include "images/sysprep_ops.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

#define ROWS(...)                                                                                  \
	(const struct sysprep_row[])                                                               \
	{                                                                                          \
		__VA_ARGS__,                                                                       \
		{                                                                                  \
			0                                                                          \
		}                                                                                  \
	}
#define REMOVE(pattern)                                                                            \
	{                                                                                          \
		ACT_REMOVE, pattern, NULL                                                          \
	}
#define FILES(pattern)                                                                             \
	{                                                                                          \
		ACT_FILES, pattern, NULL                                                           \
	}
#define PLAIN(pattern)                                                                             \
	{                                                                                          \
		ACT_PLAIN, pattern, NULL                                                           \
	}
#define EMPTY(pattern)                                                                             \
	{                                                                                          \
		ACT_EMPTY, pattern, NULL                                                           \
	}
#define LINES(pattern, ...)                                                                        \
	{                                                                                          \
		ACT_LINES, pattern, (const char *const[])                                          \
		{                                                                                  \
			__VA_ARGS__, NULL                                                          \
		}                                                                                  \
	}
#define IFCFG "/etc/sysconfig/network-scripts/ifcfg-*"

const struct sysprep_op sysprep_ops[] = {
	{"abrt-data", true, "crash data of ABRT", ROWS(REMOVE("/var/spool/abrt/*"))},
	{"backup-files", true, "editors' backup files",
		ROWS(FILES("/etc/**/@(*.bak|*~)"), FILES("/root/**/@(*.bak|*~)"),
			FILES("/srv/**/@(*.bak|*~)"), FILES("/tmp/**/@(*.bak|*~)"),
			FILES("/var/**/@(*.bak|*~)"))},
	{"bash-history", true, "histories of shells",
		ROWS(FILES("/root/@(.*_history|.zhistory|.histfile)"),
			FILES("/root/.local/share/fish/fish_history"),
			FILES("/home/*/@(.*_history|.zhistory|.histfile)"),
			FILES("/home/*/.local/share/fish/fish_history"))},
	{"blkid-tab", true, "blkid's cache",
		ROWS(FILES("/etc/blkid.tab*"), FILES("/etc/blkid/blkid.tab*"),
			FILES("/var/run/blkid.tab*"))},
	{"ca-certificates", false, "keys and certificates of TLS",
		ROWS(FILES("/etc/pki/CA/certs/*.crt"), FILES("/etc/pki/CA/crl/*.crt"),
			FILES("/etc/pki/CA/newcerts/*.crt"), FILES("/etc/pki/CA/private/*.key"),
			FILES("/etc/pki/tls/private/*.key"),
			PLAIN("/etc/pki/tls/certs/*.crt"), /* the authorities' are links */
			FILES("/etc/ssl/private/*.key"))},
	{"cloud-init", true,
		"cloud-init's state: it runs again as at a first boot, and writes the network anew",
		ROWS(REMOVE("/var/lib/cloud/data"), REMOVE("/var/lib/cloud/handlers"),
			REMOVE("/var/lib/cloud/instance"), REMOVE("/var/lib/cloud/instances"),
			REMOVE("/var/lib/cloud/scripts/per-instance/*"),
			REMOVE("/var/lib/cloud/sem"), FILES("/etc/netplan/50-cloud-init.yaml"),
			FILES("/etc/network/interfaces.d/50-cloud-init*"),
			FILES("/etc/systemd/network/10-cloud-init-*"),
			FILES("/etc/NetworkManager/system-connections/cloud-init-*"))},
	{"crash-data", true, "kernels' crash dumps",
		ROWS(REMOVE("/var/crash/*"), REMOVE("/var/log/dump/*"),
			REMOVE("/var/lib/systemd/coredump/*"))},
	{"cron-spool", true, "users' jobs of cron and at",
		ROWS(FILES("/var/spool/cron/**/*"), FILES("/var/spool/at/**/*"),
			FILES("/var/spool/atjobs/*"), FILES("/var/spool/atspool/*"))},
	{"dhcp-client-state", true, "leases of DHCP clients",
		ROWS(FILES("/var/lib/dhcp/*"), FILES("/var/lib/dhclient/*"),
			FILES("/var/lib/dhcpcd/*"), FILES("/var/lib/NetworkManager/*.lease"),
			FILES("/var/lib/NetworkManager/secret_key"), FILES("/var/lib/wicked/*"))},
	{"dhcp-server-state", true, "leases of a DHCP server",
		ROWS(FILES("/var/lib/dhcpd/*"), FILES("/var/lib/misc/dnsmasq*.leases"),
			FILES("/var/lib/kea/*"))},
	{"dovecot-data", true, "Dovecot's state", ROWS(REMOVE("/var/lib/dovecot/*"))},
	{"firewall-rules", false, "rules of the firewall",
		ROWS(FILES("/etc/sysconfig/iptables"), FILES("/etc/firewalld/services/*"),
			FILES("/etc/firewalld/zones/*"))},
	{"ipa-client", true, "what a client of IPA is known by",
		ROWS(FILES("/etc/ipa/ca.crt"), FILES("/etc/ipa/default.conf"),
			FILES("/etc/pki/ca-trust/source/anchors/ipa-ca.crt"),
			FILES("/etc/pki/ca-trust/source/ipa.p11-kit"),
			FILES("/usr/local/share/ca-certificates/ipa-ca.crt"),
			REMOVE("/var/lib/ipa-client/sysrestore/*"),
			REMOVE("/var/lib/ipa-client/pki/*"))},
	{"kerberos-data", false, "data of a Kerberos server",
		ROWS(FILES("/var/kerberos/krb5kdc/principal*"),
			FILES("/var/kerberos/krb5kdc/.k5.*"), FILES("/var/lib/krb5kdc/principal*"),
			FILES("/etc/krb5kdc/stash"))},
	{"kerberos-hostkeytab", true, "the host's Kerberos keys", ROWS(FILES("/etc/krb5.keytab"))},
	{"logfiles", true,
		"all files of logs, the journal's too; users' fingerprints and accounts' settings",
		ROWS(REMOVE("/var/log/journal/*"), REMOVE("/var/log/installer/*"),
			FILES("/var/log/**/*"), FILES("/root/anaconda-ks.cfg"),
			FILES("/root/original-ks.cfg"), FILES("/root/initial-setup-ks.cfg"),
			FILES("/root/anaconda-post.log"), FILES("/root/install.log*"),
			FILES("/var/lib/logrotate.status"), FILES("/var/lib/logrotate/status"),
			FILES("/etc/Pegasus/@(*.cnf|*.crt|*.csr|*.pem|*.srl)"),
			FILES("/var/cache/fontconfig/**/*"), FILES("/var/cache/gdm/**/*"),
			FILES("/var/cache/man/**/*"), FILES("/var/lib/AccountsService/users/*"),
			FILES("/var/lib/fprint/**/*"), FILES("/var/named/data/named.run"))},
	{"lvm-system-devices", true, "LVM's file of devices",
		ROWS(FILES("/etc/lvm/devices/system.devices"))},
	{"machine-id", true, "the machine's id: a new one is made at the next boot",
		ROWS(EMPTY("/etc/machine-id"), PLAIN("/var/lib/dbus/machine-id"))},
	{"mail-spool", true, "mail", ROWS(FILES("/var/spool/mail/**/*"), FILES("/var/mail/**/*"))},
	{"net-hostname", true, "the host's name in ifcfg files",
		ROWS(LINES(IFCFG, "HOSTNAME=", "DHCP_HOSTNAME="))},
	{"net-hwaddr", true, "MAC addresses in ifcfg files", ROWS(LINES(IFCFG, "HWADDR="))},
	{"net-nmconn", true, "connections of NetworkManager",
		ROWS(FILES("/etc/NetworkManager/system-connections/*.nmconnection"))},
	{"pacct-log", true, "the accounts of processes",
		ROWS(FILES("/var/account/pacct*"), FILES("/var/log/account/pacct*"))},
	{"package-manager-cache", true, "caches of package managers",
		ROWS(FILES("/var/cache/apt/archives/**/*.deb"), FILES("/var/cache/apt/*.bin"),
			REMOVE("/var/cache/dnf/*"), REMOVE("/var/cache/libdnf5/*"),
			REMOVE("/var/cache/yum/*"), REMOVE("/var/cache/zypp*/*"),
			FILES("/var/cache/pacman/pkg/*"), FILES("/var/cache/apk/*"))},
	{"pam-data", true, "PAM's state: consoles, failed logins",
		ROWS(FILES("/var/run/console/*"), FILES("/var/run/faillock/*"),
			FILES("/var/run/sepermit/*"), FILES("/var/lib/faillock/*"))},
	{"passwd-backups", true, "backups of the users' files",
		ROWS(FILES("/etc/passwd-"), FILES("/etc/shadow-"), FILES("/etc/group-"),
			FILES("/etc/gshadow-"), FILES("/etc/subuid-"), FILES("/etc/subgid-"))},
	{"puppet-data-log", true, "Puppet's state and logs",
		ROWS(REMOVE("/var/log/puppet/*"), REMOVE("/var/lib/puppet/*/*"))},
	{"random-seed", true, "random seeds and systemd's secret of this host",
		ROWS(FILES("/var/lib/systemd/random-seed"),
			FILES("/var/lib/systemd/credential.secret"), FILES("/var/lib/random-seed"),
			FILES("/etc/random-seed"), FILES("/var/lib/urandom/random-seed"),
			FILES("/var/lib/misc/random-seed"), FILES("/var/lib/seedrng/*"))},
	{"rh-subscription-manager", true, "the subscription to Red Hat",
		ROWS(FILES("/etc/pki/consumer/*"), FILES("/etc/pki/entitlement/*"))},
	{"rhn-systemid", true, "the system's id at RHN",
		ROWS(FILES("/etc/sysconfig/rhn/systemid"),
			FILES("/etc/sysconfig/rhn/osad-auth.conf"))},
	{"rpm-db", true, "temporary files of RPM's database", ROWS(FILES("/var/lib/rpm/__db.*"))},
	{"samba-db-log", true, "Samba's databases and logs",
		ROWS(FILES("/var/lib/samba/**/*"), FILES("/var/log/samba/**/*"))},
	{"smolt-uuid", true, "the hardware's id of Smolt",
		ROWS(FILES("/etc/sysconfig/hw-uuid"), FILES("/etc/smolt/uuid"),
			FILES("/etc/smolt/hw-uuid"))},
	{"ssh-hostkeys", true, "SSH host keys: new ones are made at the next boot",
		ROWS(FILES("/etc/ssh/*_host_*"), FILES("/etc/dropbear/*_host_*"))},
	{"ssh-userdir", true, "users' .ssh folders, authorized keys too",
		ROWS(REMOVE("/root/.ssh"), REMOVE("/home/*/.ssh"))},
	{"sssd-db-log", true, "SSSD's database and logs",
		ROWS(REMOVE("/var/log/sssd/*"), REMOVE("/var/lib/sss/db/*"))},
	{"tmp-files", true, "temporary files", ROWS(REMOVE("/tmp/*"), REMOVE("/var/tmp/*"))},
	{"udev-persistent-net", true, "udev's names of network interfaces and drives",
		ROWS(FILES("/etc/udev/rules.d/70-persistent-*.rules"))},
	{"utmp", true, "who was logged in",
		ROWS(FILES("/var/run/utmp"), FILES("/run/utmp"), FILES("/var/lib/wtmpdb/*"),
			FILES("/var/lib/lastlog/*"))},
	{"yum-uuid", true, "the installation's id of yum", ROWS(FILES("/var/lib/yum/uuid"))},
	{0},
};

const struct sysprep_absent sysprep_absent[] = {
	{"customize", "it has options of its own: --run, --run-command, --copy-in"},
	{"flag-reconfiguration",
		"today's systems do not look for /.unconfigured, but at the machine-id"},
	{"fs-uuids", "what names them in fstab and boot loaders would have to be written anew"},
	{"lvm-uuids",
		"volumes of LVM are not changed; where two meet, `vgimportclone` renames one"},
	{"script", "--run runs one, in the guest"},
	{"user-account", "`--run-command 'userdel -r NAME'` removes one"},
	{0},
};

static sysprep_set at(size_t i)
{
	return (sysprep_set)1 << i;
}

sysprep_set sysprep_usual(void)
{
	sysprep_set set = 0;
	for (size_t i = 0; sysprep_ops[i].name; i++)
		set |= sysprep_ops[i].usual ? at(i) : 0;
	return set;
}

static int unknown(const char *word, struct err *err)
{
	const char *names[SYSPREP_OPS_MAX + 1] = {0};
	for (size_t i = 0; sysprep_ops[i].name; i++)
		names[i] = sysprep_ops[i].name;
	const char *near = str_nearest(word, names);
	err_set(err, ERR_USAGE, "sysprep has no operation '%.80s'", word);
	if (near)
		return err_hint(err, "did you mean '%s'?", near);
	return err_hint(err, "`roost sysprep --list-operations` lists them");
}

static const struct sysprep_absent *absent_named(const char *word)
{
	const struct sysprep_absent *a = sysprep_absent;
	while (a->name && !str_eq(a->name, word))
		a++;
	return a->name ? a : NULL;
}

/* To leave out what is never done is nothing. */
static int set_of(const char *word, bool out_of_it, sysprep_set *out, struct err *err)
{
	const struct sysprep_absent *absent = absent_named(word);
	*out = 0;
	if (absent && out_of_it)
		return 0;
	if (absent) {
		err_set(err, ERR_USAGE, "sysprep does not do '%s'", word);
		return err_hint(err, "%s", absent->why);
	}
	if (str_eq(word, "defaults"))
		*out = sysprep_usual();
	for (size_t i = 0; sysprep_ops[i].name; i++)
		if (str_eq(word, "all") || str_eq(word, sysprep_ops[i].name))
			*out |= at(i);
	return *out ? 0 : unknown(word, err);
}

static int change(sysprep_set *set, const char *list, bool skip, struct err *err)
{
	_cleanup_free_ char *words = xstrdup(list);
	sysprep_set chosen = *set, these;
	char *rest = words, *word;
	while ((word = strsep(&rest, ","))) {
		bool minus = !skip && word[0] == '-', out = skip || minus;
		if (set_of(word + minus, out, &these, err) < 0)
			return -1;
		chosen = out ? chosen & ~these : chosen | these;
	}
	*set = chosen;
	return 0;
}

int sysprep_choose(sysprep_set *set, const char *list, struct err *err)
{
	return change(set, list, false, err);
}

int sysprep_check_pattern(const char *pattern, struct err *err)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789/._*?@%+,:-";
	size_t len = strlen(pattern);
	if (pattern[0] == '/' && len > 1 && pattern[len - 1] != '/' &&
		!pattern[strspn(pattern, letters)] && !strstr(pattern, "//") &&
		!str_ends(pattern, "/..") && !strstr(pattern, "/../") && !strstr(pattern, "**"))
		return 0;
	err_set(err, ERR_USAGE, "'%.200s' names no files to be removed", pattern);
	return err_hint(err,
		"it begins with '/', is of letters, digits and /._*?@%%+,:- only, and has no '..'");
}

int sysprep_skip(sysprep_set *set, const char *list, struct err *err)
{
	return change(set, list, true, err);
}
