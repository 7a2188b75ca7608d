# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What other people's programs do with the daemon: read by daemon-test.sh, whose functions it uses, while no
# domain is defined.  A program that is not installed is skipped by its name.

skip_without() { # PROGRAM NAME...
    program=$1
    shift
    command -v "$program" > /dev/null && return 1
    for name in "$@"; do
        count=$((count + 1))
        echo "ok $count - $name # SKIP $program is not installed"
    done
}

# A guest by virt-install itself, which stays for the rest.
check "virt-install makes and starts a guest" virt-install --connect xen:///system --name client \
    --memory 64 --vcpus 2 --paravirt --import --boot "kernel=$kernel" \
    --disk /var/lib/libvirt/images/disk.img --network none \
    --graphics vnc --noautoconsole
says "it runs" "client *running" virsh list

metrics() {
    prometheus-libvirt-exporter --libvirt.uri=xen:///system --web.listen-address=127.0.0.1:9177 \
        > "$work/exporter" 2>&1 &
    exporter=$!
    for _ in $(seq 100); do
        python3 -c 'import urllib.request as u
print(u.urlopen("http://127.0.0.1:9177/metrics").read().decode())' 2> "$work/metrics" && break
        sleep 0.2
    done
    kill "$exporter" 2> /dev/null
    cat "$work/exporter" "$work/metrics"
}
if ! skip_without prometheus-libvirt-exporter "prometheus-libvirt-exporter is up" \
    "it counts the disk's requests"; then
    metrics > "$work/all"
    says "prometheus-libvirt-exporter is up" "^libvirt_up 1" cat "$work/all"
    says "it counts the disk's requests" \
        '^libvirt_domain_block_stats_read_requests_total{.*domain="client".*} [0-9]' cat "$work/all"
fi

ansible_virt() {
    LC_ALL=C.UTF-8 ANSIBLE_LOCALHOST_WARNING=false ansible localhost -i localhost, -c local \
        -e ansible_python_interpreter=/usr/bin/python3 -m community.libvirt.virt -a "uri=xen:///system $1"
}
if ! skip_without ansible "Ansible lists the guest" "Ansible sees it run" "Ansible pauses it" \
    "Ansible resumes it" "Ansible reads its XML" "Ansible stops it" "Ansible starts it"; then
    says "Ansible lists the guest" '"client"' ansible_virt command=list_vms
    says "Ansible sees it run" '"running"' ansible_virt "command=status name=client"
    check "Ansible pauses it" ansible_virt "command=pause name=client"
    check "Ansible resumes it" ansible_virt "command=unpause name=client"
    says "Ansible reads its XML" "<name>client" ansible_virt "command=get_xml name=client"
    check "Ansible stops it" ansible_virt "command=destroy name=client"
    check "Ansible starts it" ansible_virt "name=client state=running"
fi

# A real window, on a display that nobody sees.  SERAI_PICTURE=FILE keeps what was in it.
window() {
    export DISPLAY=:77 GDK_BACKEND=x11 NO_AT_BRIDGE=1
    Xvfb "$DISPLAY" -screen 0 900x640x24 -nolisten tcp > /dev/null 2>&1 &
    screen=$!
    sleep 1
    # GTK warns of icons that it cannot draw: no reason for it to end.
    env -u G_DEBUG dbus-run-session -- virt-manager --no-fork -c xen:///system --show-domain-console client \
        > "$work/manager" 2>&1 &
    manager=$!
    found=1
    for _ in $(seq 300); do
        xwininfo -root -tree 2> /dev/null | grep -q '"client on ' && found=0 && break
        sleep 0.5
    done
    if [ -n "${SERAI_PICTURE:-}" ] && [ $found = 0 ]; then
        sleep 5
        xwd -silent -root -out "$work/picture" && convert "xwd:$work/picture" "$SERAI_PICTURE"
    fi
    [ $found = 0 ] || { cat "$work/manager"; xwininfo -root -tree; }
    kill "$manager" 2> /dev/null
    kill "$screen" 2> /dev/null
    wait "$manager" "$screen" 2> /dev/null
    return $found
}
name="virt-manager opens the guest's window"
skip_without virt-manager "$name" || skip_without Xvfb "$name" || check "$name" window
says "and the guest still runs" "client *running" virsh list

check "the guest ends" virsh destroy client
if ! skip_without virt-clone "virt-clone copies it" "the copy starts"; then
    check "virt-clone copies it" virt-clone --connect xen:///system --original client --name copy \
        --file /var/lib/libvirt/images/copy.img
    check "the copy starts" virsh start copy
    check "the copy ends" virsh destroy copy
    check "the copy goes" virsh undefine copy
fi
check "the guest goes" virsh undefine client
