# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Encrypted disks with secrets of libvirt: read by daemon-test.sh, whose functions it uses.  The disk itself
# is pretended; what is seen is that a passphrase is asked for each time, and left nowhere.

uuid=7a0b5e30-6a1c-4e0e-9f53-1d2c3b4a5968
image=/var/lib/libvirt/images/locked.img
truncate -s 1M "$image"
cat > "$work/secret.xml" <<XML
<secret ephemeral='no' private='yes'><uuid>$uuid</uuid>
<usage type='volume'><volume>$image</volume></usage></secret>
XML
for name in uuid usage; do
    value=$uuid
    [ $name = usage ] && value=$image
    cat > "$work/$name.xml" <<XML
<disk type='file'><driver name='qemu' type='qcow2'/><source file='$image'/><target dev='xvdf' bus='xen'/>
<encryption format='luks'><secret type='passphrase' $name='$value'/></encryption></disk>
XML
done

runs_anew() { # NAME DOMID
    for _ in $(seq 100); do
        id=$(virsh domid "$1")
        [ "$id" != "$2" ] && [ "$id" != - ] && return 0
        sleep 0.1
    done
    return 1
}

check "define for secrets" virsh define "$work/one.xml"
check "start for secrets" virsh start one
refuse "a secret that is missing is named, and the disk" "xvdf.*$uuid" \
    virsh attach-device one "$work/uuid.xml" --live
refuse "by its usage, too" "xvdf.*$image" virsh attach-device one "$work/usage.xml" --live
check "secret-define" virsh secret-define "$work/secret.xml"
refuse "a secret without a value is named" "xvdf.*$uuid" virsh attach-device one "$work/uuid.xml" --live
printf 'open, sesame' > "$work/word"
check "secret-set-value" virsh secret-set-value $uuid --file "$work/word" --plain
refuse "others are not told a private secret" "private" virsh secret-get-value $uuid
check "attach by usage" virsh attach-device one "$work/usage.xml" --live
says "the disk is listed" "xvdf" virsh domblklist one
check "detach" virsh detach-disk one xvdf --live
check "attach by UUID" virsh attach-device one "$work/uuid.xml" --live --config
says "the XML names the secret" "<secret type='passphrase' uuid='$uuid'/>" virsh dumpxml one
refuse "xl.cfg has no such disk" "encryption" virsh domxml-to-native xen-xl --domain one
check "the passphrase is in no file of the driver" sh -c \
    '! grep -rqa -e "open, sesame" -e "b3Blbiwgc2VzYW1l" /etc/libvirt/libxl /run/libvirt /var/log/libvirt'
id=$(virsh domid one)
check "reboot" virsh reboot one
check "it asks again for itself" runs_anew one "$id"
check "save with the disk" virsh save one "$work/locked.save"
check "the passphrase is not in the image" sh -c \
    "! grep -qa -e 'open, sesame' -e 'b3Blbiwgc2VzYW1l' '$work/locked.save'"
check "secret-undefine" virsh secret-undefine $uuid
refuse "a restore without the secret fails" "xvdf.*$uuid" virsh restore "$work/locked.save"
refuse "a start, too" "xvdf.*$uuid" virsh start one
says "nothing runs" "shut off" virsh domstate one
check "secret-define again" virsh secret-define "$work/secret.xml"
check "secret-set-value again" virsh secret-set-value $uuid --file "$work/word" --plain
check "restore with the secret" virsh restore "$work/locked.save"
check "destroy it" virsh destroy one
check "undefine it" virsh undefine one
check "undefine the secret" virsh secret-undefine $uuid
