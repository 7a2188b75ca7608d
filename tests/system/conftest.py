# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures of the system tests: one booted host for all of them, and what a test may ask of it.

    --kind     what is below: serai (the default) or xen
    --peer     a seam where Debian's part stands in: store, driver, or hypervisor (Debian's Xen below ours)

Tests marked `tiny` boot the tiny dom0 instead; they need neither root nor the image.
"""

import os
import pathlib
import re
import shutil
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import host as hosts                                                    # noqa: E402
import image                                                            # noqa: E402
import tiny                                                             # noqa: E402

TOP = pathlib.Path(__file__).resolve().parents[2]
LOGS = TOP / 'build/system-logs'


def pytest_addoption(parser):
    parser.addoption('--kind', default='serai', choices=['serai', 'xen'])
    parser.addoption('--cpus', default=1, type=int, help='of the host that the tests of a run share')
    parser.addoption('--guests', default=20, type=int, help='of test_scale.py')
    parser.addoption('--kills', default=100, type=int, help='of test_kills.py')
    parser.addoption('--seed', default=None, type=int, help='of test_kills.py')
    parser.addoption('--cycles', default=200, type=int, help='of test_scale.py')
    parser.addoption('--peer', default=None, choices=['store', 'driver', 'hypervisor'])


def pytest_configure(config):
    config.addinivalue_line('markers', 'tiny: boots the tiny dom0, no disk')
    config.addinivalue_line('markers', 'dom0: Debian as it comes, on one machine after another')
    config.addinivalue_line('markers', 'scale: many guests at once, and many one after another')
    config.addinivalue_line('markers', 'by_name: too long for a run that names no tier')


@pytest.fixture(scope='session')
def kind(request):
    """What is below dom0 in this run."""
    return 'xen' if request.config.getoption('--peer') == 'hypervisor' else request.config.getoption('--kind')


@pytest.fixture(scope='session')
def stock(request, kind):
    """The seams where Debian's part stands in this run."""
    peer = request.config.getoption('--peer')
    if peer == 'hypervisor':
        return ()
    if peer:
        return (peer,)
    return hosts.SEAMS if kind == 'xen' else ()


@pytest.fixture(scope='session')
def host_image_directory(stock):
    debs = hosts.packages()
    if not debs and len(stock) < len(hosts.SEAMS):
        pytest.skip('Serai\'s packages are not built; scripts/build-debs makes them')
    return image.build(debs)


@pytest.fixture(scope='session')
def host(request, kind, stock, host_image_directory):
    """A booted host, shared by all tests of the run: each leaves it as it found it."""
    name = '-'.join([kind, *stock])
    with hosts.Host(kind, stock=stock, image=host_image_directory, log=LOGS / f'{name}.log', memory=2048,
                    cpus=request.config.getoption('--cpus')) as h:
        h.boot()
        yield h


@pytest.fixture
def domain_xml():
    """Makes the XML of a domain like examples/guest.xml, with another name and command line."""
    def make(name='guest', memory=128, cmdline='', disk=True, nic=True, kernel='guest-kernel'):
        text = (TOP / 'examples/guest.xml').read_text()
        text = text.replace('<name>guest<', f'<name>{name}<').replace("'MiB'>128<", f"'MiB'>{memory}<")
        text = text.replace('/guest-kernel<', f'/{kernel}<')
        text = re.sub(r'<cmdline>.*?</cmdline>', f'<cmdline>console=hvc0 quiet {cmdline}</cmdline>', text)
        if not disk:
            text = re.sub(r'<disk .*?</disk>', '', text, flags=re.S)
        if not nic:
            text = re.sub(r'<interface .*?</interface>', '', text, flags=re.S)
        return text
    return make


@pytest.fixture
def domains(host):
    """A function that defines domains; whatever it made is gone after the test."""
    names = []

    def define(xml):
        domain = host.connect().defineXML(xml)
        names.append(domain.name())
        return domain

    yield define
    # The test may have undefined its domain, or restarted the daemon that this connection was to.
    left = {d.name(): d for d in host.connect().listAllDomains() if d.name() in names}
    for domain in left.values():
        if domain.isActive():
            domain.destroy()
        if domain.isPersistent():
            domain.undefine()


@pytest.fixture(scope='session')
def tiny_kind(request):
    if request.config.getoption('--kind') == 'serai' and not (
            os.environ.get('SERAI_HV') or (TOP / 'build/hv/serai').exists()):
        pytest.skip('the hypervisor is not built')
    if not shutil.which('qemu-system-x86_64'):
        pytest.skip('qemu-system-x86_64 is not installed')
    return request.config.getoption('--kind')


@pytest.fixture
def tiny_log(request):
    return LOGS / f'tiny-{request.node.name}.log'


@pytest.fixture
def console(host):
    """What a guest has said: wait for a pattern on its libvirt console."""
    import libvirt
    import time

    def wait(domain, pattern, timeout=900):
        stream = domain.connect().newStream(libvirt.VIR_STREAM_NONBLOCK)
        domain.openConsole(None, stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
        text, limit = '', time.monotonic() + timeout
        try:
            while not re.search(pattern, text, re.M):
                if time.monotonic() > limit:
                    raise AssertionError(f'no /{pattern}/ on the console of {domain.name()}:\n{text[-2000:]}')
                data = stream.recv(4096)
                if data == -2:
                    host.pump()
                    time.sleep(0.2)
                elif not data:
                    raise AssertionError(f'the console of {domain.name()} closed:\n{text[-2000:]}')
                else:
                    text += data.decode(errors='replace').replace('\r', '')
        finally:
            stream.abort()
        return text
    return wait


__all__ = ['tiny']
