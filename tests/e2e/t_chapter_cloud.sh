#!/bin/sh
# The chapter's part on cloud images, as printed: an overlay on an image, user-data, a seed, virt-install --import by a member of
# the group, and a log-in by key over the guest's address. The overlay was copied away from its base: our error has the line
# that mends it, which is run. See t_chapter.sh.
# user: root
# limit: 900
. "$TOP/tests/e2e/chapter/host.sh"
need cloud.qcow2
line 'sudo virsh net-start default'

say "an overlay on an image"
offer "$GUESTS/cloud.qcow2" jammy-server-cloudimg-amd64.img
line 'mkdir local-cloud-images'
line 'cd local-cloud-images'
line 'wget -nv http://downloads.example/jammy-server-cloudimg-amd64.img'
line 'qemu-img info jammy-server-cloudimg-amd64.img'
check_match "its format" '^file format: qcow2$' "$out"
line 'qemu-img resize jammy-server-cloudimg-amd64.img 15G'
check_match "its word" '^Image resized.$' "$out"
line 'qemu-img create -f qcow2 -F qcow2 -b jammy-server-cloudimg-amd64.img ubuntu.qcow2 15G'
here=$home/local-cloud-images
check_eq "ours tells the same of it" "qcow2 $((15 << 30)) jammy-server-cloudimg-amd64.img" \
	"$(su - alice -c "roost image info $here/ubuntu.qcow2 --json" | jq -r '"\(.format) \(.["virtual-size"] // .virtual_size) \(.backing // .["backing-filename"])"')"

say "a seed"
line 'touch user-data meta-data network-config'
line 'ssh-keygen -q -t ed25519 -N "" -f first-key'
# shellcheck disable=SC2016 # it is her shell that expands it
line 'cat >user-data <<EOF
#cloud-config
hostname: vm01
users:
  - name: username
    lock_passwd: false
    plain_text_passwd: password
    shell: /bin/bash
    sudo: ALL=(ALL) NOPASSWD:ALL
    ssh_authorized_keys:
      - $(cat first-key.pub)
ssh_pwauth: true
packages:
  - nginx
EOF'
line 'cloud-localds -v ubuntu-provisioning.qcow2 user-data meta-data'
check_eq "its word" "wrote ubuntu-provisioning.qcow2 with filesystem=iso9660 and diskformat=raw" "$out"
check_eq "raw, whatever its name" "$(cat "$here/user-data")" "$(isoinfo -R -i "$here/ubuntu-provisioning.qcow2" -x /user-data)"

say "a guest; its overlay was copied away from its base"
line 'sudo cp ubuntu.qcow2 ubuntu-provisioning.qcow2 /var/lib/libvirt/images/'
install='virt-install --name vm01 --virt-type kvm --vcpus 1 --memory 2048 --disk path=/var/lib/libvirt/images/ubuntu.qcow2,device=disk --disk path=/var/lib/libvirt/images/ubuntu-provisioning.qcow2,device=cdrom --os-type linux --os-variant generic --import --network network=default --noautoconsole'
line_fails 1 "$install"
check_match "libvirt's words" "^ERROR    Cannot access backing file '$images/jammy-server-cloudimg-amd64.img' of storage file '$images/ubuntu.qcow2' \(as uid:54322, gid:54322\): No such file or directory\$" "$out"
mend=$(echo "$out" | sed -n 's/.*\(qemu-img rebase .*\)/\1/p')
check_eq "the line that mends it" "qemu-img rebase -u -F qcow2 -b $here/jammy-server-cloudimg-amd64.img $images/ubuntu.qcow2" "$mend"
line "sudo $mend"
asks_for_kvm vm01 "$install"
check_match "--os-type" '^WARNING  --os-type is deprecated and does nothing. Please stop using it.$' "$out"
check_match "how it ends" '^Domain creation completed.$' "$out"
line 'virsh list'
check_match "it runs" '^ [0-9]+ +vm01   running$' "$out"
line 'virsh domifaddr vm01'
address=$(echo "$out" | awk '$3 == "ipv4" { sub("/.*", "", $4); print $4 }')
check_match "its address" '^192\.168\.122\.[0-9]+$' "$address"

# in_guest COMMAND: by the key of its user-data; nothing of it is shown
in_guest() {
	su - alice -c "ssh -i $here/first-key -o BatchMode=yes -o ConnectTimeout=$((4 * E2E_PATIENCE)) -o StrictHostKeyChecking=no \
		-o UserKnownHostsFile=/dev/null username@$address '$1'" </dev/null 2>/dev/null
}
cloud_init_is_done() {
	in_guest 'cloud-init status' | grep -Eq 'status: (done|error)'
}
wait_until 400 cloud_init_is_done
say "it is up; a key of one's own"
# of its packages there is no mirror here; but for them nothing is wrong
check_json "cloud-init has done the rest" '.errors | length == 1 and (.[0] | test("apt-get.*install.*nginx"))' \
	"$(in_guest 'cloud-init status --format json' || :)"
dialogue 'ssh-keygen' expect 'Enter file' type "
" expect 'Enter passphrase' type "
" expect 'same passphrase again' type "
"
dialogue "ssh-copy-id username@$address" expect 'continue connecting' type "yes
" expect 'password:' type "password
"
check_match "its word" '^Number of key\(s\) added: 1' "$out"
line "ssh username@$address 'hostname; df -h /; sudo -n id -un'"
check_eq "its name, and sudo" "vm01 root" "$(echo "$out" | sed -n '1p;$p' | xargs)"
check_match "its root has grown" '^/dev/[sv]da1 +15G ' "$out"
line 'virsh domblklist vm01 --details'
line 'virt-df -d vm01 -h'
check_match "as seen from here" '^vm01:/dev/sda1 +15G ' "$out"
line 'virsh shutdown vm01'
wait_until 120 is_state vm01 "shut off"
qemu-img check -q "$images/ubuntu.qcow2"
line 'virsh undefine vm01 --remove-all-storage'
[ -s "$here/jammy-server-cloudimg-amd64.img" ] || fail "the base is gone"
check_eq "the seed stays, which was no disk" ubuntu-provisioning.qcow2 "$(ls $images)"
line 'sudo virsh net-destroy default'
