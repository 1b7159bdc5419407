/*
 * Who may use an instance, and the ranks of what is in it.
 *
 * Root's instance is root's, and that of the members of the group `roost` where the host has one:
 * they look by reading files, and change by the sockets, as root does. A member can define a guest
 * on any disk of the host, so membership is as good as being root, as with libvirt and docker.
 *
 *	$STATE, $RUN and the folders in them	root:roost 2751	without the group root:root 0711
 *	a guest's folder in them		keeper:roost 2750	keeper 0700
 *	what members read in it			0640		0600
 *	guest.sock, console.in, roostd.sock	0660		0600
 *	disks, seeds, host keys, QEMU's sockets	0600		0600
 *
 * Two means are enough. The folders' setgid bit gives the group to all that is made in them, also
 * to what a keeper makes, which is in no group. The umask, 007 or 077, is set by roostd at its
 * start and goes to its workers and keepers: who makes a file need not know of any group.
 *
 * A user's own instance never has a group.
 */
#ifndef ORCHESTRATOR_ACCESS_H
#define ORCHESTRATOR_ACCESS_H

#include <sys/types.h>

#include "base/err.h"

#define ACCESS_GROUP "roost"
#define ACCESS_NONE  ((gid_t)-1)

/* The group of this instance, ACCESS_NONE if it has none. Asks NSS the first time: for roostd. */
gid_t access_group(void);
/*
 * $STATE with its folders and $RUN with its own, in their ranks. If these had others, because the
 * group is new or has gone, the guests' folders are given theirs, too; a guest that runs gets
 * them at its next start. Sets the umask.
 */
int access_make_folders(struct err *err);
/* Gives the open file to the keeper's uid, its group stays; nothing to do without root. */
int access_give(int fd, uid_t keeper, struct err *err);
/*
 * The same by its name, in a folder of the keeper's: ERR_REFUSED if by now it has put a file of
 * root's there that has another name, too.
 */
int access_give_at(int dir, const char *name, uid_t keeper, struct err *err);
/*
 * A file in a keeper's folder, to be written: made once, later it is what the keeper has there,
 * and root takes nobody else's file for it.
 */
int access_open(int dir, const char *name, int flags, mode_t mode, uid_t keeper, struct err *err);
/* A guest's folder, made if it is missing, the keeper's; opened. */
int access_guest_folder(const char *path, uid_t keeper, struct err *err);

#endif
