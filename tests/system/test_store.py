# SPDX-License-Identifier: LGPL-2.1-or-later
"""The store daemon below Debian's kernel, tools and guests.

In the tiny dom0: see store-on-xen.py.  On the whole host, as systemd's service beside libvirtd, with guests
of xl and of virsh: `scripts/check store` on Serai and then on Debian's Xen, or by hand
`pytest tests/system/test_store.py -m 'not tiny'`, with `--peer=hypervisor` on Debian's Xen.
$STORE_CYCLES says how many domains each of xl and virsh makes and destroys (5; that tier takes 200).
"""
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import time

import pytest

import cache
import xl_scripts

TOP = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = pathlib.Path(__file__).with_name('store-on-xen.py')
CLIENT = TOP / 'build/tests/xenstore/store-client'
CYCLES = int(os.environ.get('STORE_CYCLES', '5'))
IMAGES = '/var/lib/libvirt/images'

GUEST_XL = f'''\
name = "by-xl"
type = "pv"
kernel = "{IMAGES}/guest-kernel"
ramdisk = "{IMAGES}/store-guest-initrd"
extra = "console=hvc0 quiet guest.ip=10.0.2.41"
memory = 128
vcpus = 1
disk = [ "format=raw, vdev=xvda, access=rw, script=quick-block, target={IMAGES}/by-xl.img" ]
vif = [ "mac=00:16:3e:00:00:41, bridge=br0, script=quick-vif" ]
'''
GUEST_VIRSH = f'''\
<domain type='xen'>
  <name>by-virsh</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>
  <os><type>linux</type><kernel>{IMAGES}/guest-kernel</kernel><initrd>{IMAGES}/store-guest-initrd</initrd>
    <cmdline>console=hvc0 quiet guest.ip=10.0.2.42</cmdline></os>
  <devices>
    <disk type='file'><driver name='file' type='raw'/><source file='{IMAGES}/by-virsh.img'/>
      <target dev='xvda' bus='xen'/></disk>
    <interface type='bridge'><source bridge='br0'/><mac address='00:16:3e:00:00:42'/></interface>
    <console type='pty'/>
  </devices>
</domain>
'''
EMPTY_XL = f'name = "empty"\ntype = "pv"\nkernel = "{IMAGES}/empty"\nmemory = 8\n'
EMPTY_VIRSH = f'''\
<domain type='xen'><name>empty</name><memory unit='MiB'>8</memory><vcpu>1</vcpu>
  <os><type>linux</type><kernel>{IMAGES}/empty</kernel></os></domain>
'''
# What there is of guests; the directories that the first of them makes in dom0's part stay.
OF_GUESTS = (r'^/(local/domain/[1-9]|'
             r'(vm|libxl|serai/domain|serai/console|local/domain/0/(backend/\w+|device-model))/)')
ADDRESSES = {'by-xl': '10.0.2.41', 'by-virsh': '10.0.2.42'}


def store_on_xen():
    spec = importlib.util.spec_from_file_location('store_on_xen', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.tiny
@pytest.mark.parametrize('kind', ['serai', 'xen'])
def test_store_serves_guests_through_kills(kind):
    run = subprocess.run([sys.executable, SCRIPT, kind, '--kills', '8', '--cycles', '10'],
                         capture_output=True, text=True)
    if run.returncode == 77:
        pytest.skip(run.stdout.strip())
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.tiny
def test_tools_and_requests_see_what_debians_daemons_show():
    """xenstore-ls prints the same of the same contents, and a conversation has the answers expected."""
    if os.geteuid():
        pytest.skip('oxenstored has a fixed socket path, which only root can hide')
    xen = cache.unpacked(['xen-utils-4.17']) / 'usr/lib/xen-4.17/bin'
    run = subprocess.run([sys.executable, TOP / 'tests/bench/store-compare.py', TOP / 'build', xen,
                          TOP / 'tests/xenstore/every-request.txt'],
                         capture_output=True, text=True, timeout=1500)
    assert run.returncode == 0, run.stdout + run.stderr
    assert 'serai: 0 of ' in run.stdout and run.stdout.count(', the same\n') == 2


@pytest.fixture(scope='module')
def store_host(host, stock):
    if 'store' in stock:
        pytest.skip('the store of this run is Debian\'s')
    module = store_on_xen()
    for name, data in (('store-guest-initrd', module.guest_initramfs(CLIENT)),
                       ('empty', module.empty_kernel()), ('by-xl.cfg', GUEST_XL), ('by-virsh.xml', GUEST_VIRSH),
                       ('empty.cfg', EMPTY_XL), ('empty.xml', EMPTY_VIRSH)):
        host.run(f'cat > {IMAGES}/{name}', input=data)
    for name in ADDRESSES:
        host.run(f'truncate -s 8M {IMAGES}/{name}.img')
    xl_scripts.install(host)
    host.put(CLIENT, '/usr/local/bin/store-client')
    return host


def nodes(host):
    return int(host.run('xenstore-ls -f / | wc -l'))


def daemon(host):
    return host.run('systemctl show -P MainPID serai-xenstored').strip()


def property_of(host, name, unit='serai-xenstored.service'):
    return host.run(f'systemctl show -P {name} {unit}').strip()


def test_systemd_runs_it_as_the_unit_says(store_host):
    assert property_of(store_host, 'ActiveState') == 'active'
    assert property_of(store_host, 'Type') == 'notify'
    assert property_of(store_host, 'StatusText') == 'Serving.'
    assert property_of(store_host, 'WatchdogUSec') == '30s'
    assert property_of(store_host, 'ActiveState', 'serai-xenstored.socket') == 'active'
    assert 'xenstored' in store_host.run('readlink /proc/%s/exe' % daemon(store_host))
    # Its sockets are systemd's, passed on.
    assert 'LISTEN_FDS=' in store_host.run('tr "\\0" "\\n" < /proc/%s/environ' % daemon(store_host))


def test_dom0_has_the_nodes_that_tools_expect(store_host):
    """What Debian's own start script leaves with Debian's store: name and number, the store's own node."""
    listing = store_host.run('xenstore-ls -f /')
    assert '/local/domain/0/name = "Domain-0"' in listing
    assert '/local/domain/0/domid = "0"' in listing
    assert '/tool/xenstored = ""' in listing
    assert re.search(r'^Domain-0 +0 ', store_host.run('xl list'), re.M)
    # What xl keeps of each domain it keeps of dom0 too, or it could not change its memory.
    store_host.run('xl list -l 0')
    # Its locks lie here, and without them it cannot even destroy a domain.
    store_host.run('test -d /run/xen')


def rounds(host, name):
    """How far the guest's two workers are, asked over its network."""
    page = host.run(f'busybox wget -q -O - http://{ADDRESSES[name]}/disk.log; echo; '
                    f'busybox wget -q -O - http://{ADDRESSES[name]}/client.log', check=False, timeout=120)[1]
    bad = re.findall(r'.*(?:WRONG|FAILED|DIFFERS).*', page)
    assert not bad, f'{name}: {bad}'
    disk = [int(n) for n in re.findall(r'disk round (\d+)', page)]
    client = [int(n) for n in re.findall(r'(\d+) rounds right', page)]
    return disk[-1] if disk else 0, client[-1] if client else 0


def wait_for_rounds(host, name, disk, client, timeout=600):
    limit = time.monotonic() + timeout
    while True:
        now = rounds(host, name)
        if now[0] >= disk and now[1] >= client:
            return now
        assert time.monotonic() < limit, f'{name} stands still at {now}, wanted {disk} and {client}'
        time.sleep(2)


@pytest.fixture(scope='module')
def traffic(store_host):
    """Two guests with disk and network traffic, and clients on the kernel's ring, a socket and a watch."""
    host = store_host
    for kind in ('kernel', 'socket'):
        path = '/dev/xen/xenbus' if kind == 'kernel' else '/run/xenstored/socket'
        host.run(f'systemd-run -q --unit store-{kind} -p StandardOutput=file:/tmp/{kind}.log '
                 f'/usr/local/bin/store-client {path} /test/{kind}')
    host.run('systemd-run -q --unit store-watch -p StandardOutput=file:/tmp/watch.log '
             'xenstore-watch -n 3 /test/watched')
    host.run(f'xl create {IMAGES}/by-xl.cfg', timeout=600)
    host.virsh(f'create {_local(host, "by-virsh.xml", GUEST_VIRSH)}', timeout=600)
    for name, address in ADDRESSES.items():
        wait_for_rounds(host, name, 2, 20)
        host.run(f'systemd-run -q --unit ping-{name} -p KillSignal=SIGINT '
                 f'-p StandardOutput=file:/tmp/ping-{name}.log '
                 f'busybox ping -i 0.2 {address}')
    yield host
    for name in ADDRESSES:
        host.run(f'systemctl stop ping-{name}', check=False)
        host.run(f'xl destroy {name}' if name == 'by-xl' else 'true', check=False)
    host.virsh('destroy by-virsh', check=False)
    host.run('systemctl stop store-kernel store-socket store-watch; xenstore-rm /test', check=False)
    host.run(f'for i in $(seq 120); do xenstore-ls -f / | grep -E "{OF_GUESTS}" || exit 0; sleep 1; done; '
             'exit 1', timeout=300)


def _local(host, name, text):
    path = host.work / name
    path.write_text(text)
    return path


def settle(host, before, timeout=120):
    """The kernel and the daemons take away what is theirs in their own time."""
    limit = time.monotonic() + timeout
    while nodes(host) != before:
        assert time.monotonic() < limit, f'{before} nodes before:\n' + host.run('xenstore-ls -f /')
        time.sleep(1)


def kill_once(host):
    host.run(f'kill -9 {daemon(host)}')


def restart_once(host):
    host.run('systemctl restart serai-xenstored')


def update_once(host):
    before = daemon(host)
    host.run('xenstore-control live-update -F /usr/sbin/serai-xenstored')
    assert daemon(host) == before


@pytest.mark.parametrize('way,times', [(restart_once, 5), (kill_once, 10), (update_once, 5)])
def test_nobody_notices(traffic, way, times):
    host = traffic
    at = {name: rounds(host, name) for name in ADDRESSES}
    for _ in range(times):
        way(host)
        time.sleep(0.5)
        host.run('xenstore-read /local/domain/0/name')
    at = {name: max(at[name], rounds(host, name)) for name in ADDRESSES}
    for name, (disk, client) in at.items():
        wait_for_rounds(host, name, disk + 5, client + 20)
    for kind in ('kernel', 'socket'):
        right = host.run(f'grep -c "rounds right" /tmp/{kind}.log')
        host.run(f'for i in $(seq 300); do [ $(grep -c "rounds right" /tmp/{kind}.log) '
                 f'-gt {right.strip()} ] && exit 0; '
                 'sleep 0.5; done; exit 1', timeout=200)
        assert 'WRONG' not in host.run(f'cat /tmp/{kind}.log')
    assert {'by-virsh', 'Domain-0'} <= set(host.virsh('list --name').split())
    assert 'by-xl' in host.run('xl list')
    assert int(property_of(host, 'NRestarts')) >= (times if way is kill_once else 0)


def test_a_watch_set_before_fires_after(traffic):
    traffic.run('xenstore-write /test/watched 1; sleep 1; xenstore-write /test/watched 2')
    traffic.run('for i in $(seq 60); do systemctl is-active -q store-watch || exit 0; sleep 1; done; exit 1')
    assert traffic.run('cat /tmp/watch.log').split() == ['/test/watched'] * 3


def test_no_ping_was_lost(traffic):
    for name in ADDRESSES:
        traffic.run(f'systemctl stop ping-{name}')
        said = traffic.run(f'cat /tmp/ping-{name}.log')
        answered = [int(n) for n in re.findall(r'seq=(\d+) ', said)]
        assert answered == list(range(len(answered))), said[-3000:]
        # The last one may have been under way when ping was told to stop.
        assert int(re.search(r'(\d+) packets transmitted', said).group(1)) <= len(answered) + 1, said[-500:]


def test_a_daemon_that_hangs_is_replaced(traffic):
    """The watchdog: a stopped process feeds nobody."""
    host, before = traffic, daemon(traffic)
    host.run(f'kill -STOP {before}')
    host.run(f'for i in $(seq 400); do p=$(systemctl show -P MainPID serai-xenstored); '
             f'[ $p != {before} ] && [ $p != 0 ] && exit 0; sleep 1; done; exit 1', timeout=500)
    host.run('xenstore-read /local/domain/0/name')
    for name in ADDRESSES:
        disk, client = rounds(host, name)
        wait_for_rounds(host, name, disk + 2, client + 20)
    assert 'watchdog' in host.run('journalctl -u serai-xenstored --no-pager | tail -n 50').lower()


def test_guests_leave_nothing(store_host, traffic):
    """A hostile guest's nodes below dom0's directory of backends go too."""
    host = traffic
    number = host.run('xl domid by-xl').strip()
    kind = '/local/domain/0/backend/hostile'
    host.run(f'xenstore-write {kind}/{number}/a/b 1; xenstore-chmod {kind}/{number} n{number}; '
             f'xenstore-write /test/hostile/x 1; xenstore-chmod -r /test/hostile n{number}')
    host.run('xl destroy by-xl', timeout=300)
    # Its own nodes, and those about it; the library's record of another domain has other numbers in it.
    about = rf'^/(local/domain|libxl|serai/console|local/domain/0/(backend/\w+|device-model))/{number}[/ ]'
    host.run(f'for i in $(seq 60); do xenstore-ls -fp / | grep -E "{about}|[nrwb]{number}[,)]" || exit 0; '
             'sleep 1; '
             'done; exit 1', timeout=200)


@pytest.mark.parametrize('maker', ['xl', 'virsh'])
def test_domains_come_and_go(store_host, maker):
    host = store_host
    if maker == 'xl':
        cycle = f'xl create -p -q {IMAGES}/empty.cfg >/dev/null && xl destroy empty'
    else:
        cycle = f'virsh -q create --paused {IMAGES}/empty.xml >/dev/null && virsh -q destroy empty >/dev/null'
    host.run(cycle, timeout=300)
    time.sleep(2)
    before = nodes(host)
    done = 0
    while done < CYCLES:
        count = min(20, CYCLES - done)
        host.run(f'for i in $(seq {count}); do {cycle} || exit 1; done', timeout=900)
        done += count
    settle(host, before)
    assert ' 0 domains wrong' in host.run('xenstore-control check')


def test_the_socket_starts_the_service(store_host):
    """Comes last: who was connected must connect anew after a stop."""
    host = store_host
    host.run('systemctl stop libvirtd libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket '
             'libvirtd-tcp.socket serai-consoled serai-xenstored.service', check=False)
    assert property_of(host, 'ActiveState') == 'inactive'
    assert host.run('xenstore-read /local/domain/0/name').strip() == 'Domain-0'
    assert property_of(host, 'ActiveState') == 'active'
    host.run('systemctl start serai-consoled; systemctl start libvirtd-tcp.socket libvirtd', check=False)
