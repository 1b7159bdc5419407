/* All verbs, one row each, in the order in which `roost help` lists them. */
#ifndef ORCHESTRATOR_VERBS_H
#define ORCHESTRATOR_VERBS_H

#include "orchestrator/verb.h"

extern const struct verb verb_define, verb_undefine, verb_start, verb_run, verb_install, verb_list,
	verb_domstate, verb_dominfo, verb_suspend, verb_resume, verb_reset, verb_shutdown,
	verb_reboot, verb_destroy, verb_wait, verb_timeline, verb_ssh, verb_scp, verb_dial,
	verb_ssh_config, verb_console, verb_logs, verb_events, verb_qmp, verb_setmem,
	verb_setmaxmem, verb_setvcpus, verb_attach_disk, verb_detach_disk, verb_attach_interface,
	verb_detach_interface, verb_blockresize, verb_domblklist, verb_domiflist,
	verb_domif_setlink, verb_domif_getlink, verb_autostart, verb_boot, verb_halt,
	verb_dommemstat, verb_image_pull, verb_image_catalogue, verb_validate, verb_doctor, verb_gc,
	verb_smoke, verb_version, verb_help, verb_completion;

/* a guest's definition */
extern const struct verb verb_adopt, verb_dumpxml, verb_net_dumpxml;
extern const struct verb verb_dumpyaml, verb_edit, verb_desc, verb_domrename, verb_clone,
	verb_template;

/* those that look */
extern const struct verb verb_domblkinfo, verb_domblkstat, verb_domid, verb_domname, verb_domuuid,
	verb_vcpuinfo, verb_vcpucount, verb_nodeinfo, verb_domifaddr, verb_domifstat, verb_domstats,
	verb_domcapabilities, verb_df;

extern const struct verb verb_send_key, verb_inject_nmi, verb_screenshot, verb_agent, verb_cancel,
	verb_save, verb_restore, verb_managedsave, verb_managedsave_remove, verb_change_media;

extern const struct verb verb_seed, verb_sysprep;
extern const struct verb verb_snapshot_create_as, verb_snapshot_list, verb_snapshot_info,
	verb_snapshot_current, verb_snapshot_revert, verb_snapshot_delete;
extern const struct verb verb_image_info, verb_image_create, verb_image_resize, verb_image_map,
	verb_image_check, verb_image_convert, verb_image_compare, verb_image_commit,
	verb_image_rebase, verb_image_flatten;

/* the store */
extern const struct verb verb_image_import, verb_image_list, verb_image_tree, verb_image_tag,
	verb_image_verify, verb_image_rm, verb_image_gc;

/* networks */
extern const struct verb verb_net_define, verb_net_undefine, verb_net_dumpyaml, verb_net_edit,
	verb_net_start, verb_net_destroy, verb_net_autostart, verb_net_list, verb_net_info,
	verb_net_dhcp_leases, verb_net_guard, verb_net_exec, verb_net_update, verb_net_hosts;

extern const struct verb verb_vncdisplay, verb_domdisplay, verb_set_vnc_password, verb_viewer;

extern const struct verb verb_ssh_copy_id, verb_keygen, verb_compat;

extern const struct verb verb_backup, verb_blockpull, verb_blockcommit;

#endif
