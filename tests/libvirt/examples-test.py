#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What examples/ and the manual show: valid by libvirt's schema, and taken by the driver.

    examples-test.py DRIVER-DIRECTORY SHIM-DIRECTORY
"""

import configparser
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / 'tests/style'), str(TOP / 'tests/system')]
import tap                                                              # noqa: E402
import cache                                                            # noqa: E402

EXAMPLES = TOP / 'examples'
SCHEMAS = pathlib.Path('/usr/share/libvirt/schemas')
ROOTS = {'domain': 'domain', 'network': 'network', 'pool': 'storagepool', 'volume': 'storagevol',
         'domainsnapshot': 'domainsnapshot', 'domainbackup': 'domainbackup', 'secret': 'secret'}
# What a part of a domain, as the manual shows it, is a part of.
AROUND = '''<domain type='xen'>
  <name>{name}</name><memory unit='MiB'>256</memory>
  <os><type arch='x86_64' machine='xenpv'>linux</type><kernel>/boot/vmlinuz</kernel></os>
  {outside}
  <devices>{inside}</devices>
</domain>'''
OF_DEVICES = ('disk', 'interface', 'console', 'graphics', 'input', 'channel', 'serial', 'emulator', 'video',
              'hostdev')


def elements(text):
    """The elements that TEXT is made of, each as text."""
    try:
        return [ElementTree.tostring(e, encoding='unicode')
                for e in ElementTree.fromstring(f'<all>{re.sub(r"<[?].*?[?]>", "", text)}</all>')]
    except ElementTree.ParseError as error:
        return [f'<not-well-formed>{error}</not-well-formed>']


def manual():
    """(place, XML document) of each literal block of the manual that holds XML, parts completed."""
    lines = (TOP / 'docs/manual.rst').read_text().splitlines()
    for number, line in enumerate(lines):
        if not re.match(r'\s+<\w', line) or (number and re.match(r'\s+\S', lines[number - 1])):
            continue
        block, indent = [], len(line) - len(line.lstrip())
        for following in lines[number:]:
            if following.strip() and len(following) - len(following.lstrip()) < indent:
                break
            block.append(following)
        for n, text in enumerate(elements('\n'.join(block))):
            tag = ElementTree.fromstring(text).tag
            if tag not in ROOTS and tag != 'not-well-formed':
                inside = tag in OF_DEVICES
                text = AROUND.format(name=f'manual-{number}-{n}', inside=text if inside else '',
                                     outside='' if inside else text)
            yield f'docs/manual.rst:{number + 1}', text


def documents():
    for path in sorted(EXAMPLES.glob('*.xml')):
        yield tap.relative(path), path.read_text()
    yield from manual()


def schema(place, text, work):
    root = ElementTree.fromstring(text).tag
    if root not in ROOTS:
        return [f'{place}: {text[:200]}']
    path = work / 'document.xml'
    path.write_text(text)
    result = subprocess.run(['xmllint', '--noout', '--relaxng', SCHEMAS / f'{ROOTS[root]}.rng', path],
                            capture_output=True, text=True)
    return [] if result.returncode == 0 else [f'{place}: {line}' for line in result.stderr.splitlines()[:6]]


def define(place, text, work):
    path = work / 'document.xml'
    path.write_text(text)
    result = subprocess.run(['virsh', '-q', '-c', f'xen:///embed?root={work}/root', 'define', path],
                            capture_output=True, text=True)
    return [] if result.returncode == 0 else [f'{place}: {result.stderr.strip()}']


def xml(work):
    (work / 'root').mkdir()
    (work / 'root/libxl.conf').write_text('hypervisor = "fake"\n')
    found = list(documents())
    if len([place for place, _ in found if place.startswith('docs/')]) < 10:
        tap.result('the_manual_shows_xml', ['fewer than 10 pieces of XML were found in the manual'])
    if shutil.which('xmllint') and SCHEMAS.exists():
        tap.result('xml_is_valid_by_libvirts_schema', [p for d in found for p in schema(*d, work)])
    else:
        tap.skip('xml_is_valid_by_libvirts_schema', 'xmllint or the schemas of libvirt0 are not installed')
    domains = [(place, text) for place, text in found if ElementTree.fromstring(text).tag == 'domain']
    tap.result('domains_are_taken_by_the_driver', [p for d in domains for p in define(*d, work)])
    wrong = AROUND.format(name='wrong', outside='', inside="<watchdog model='i6300esb'/>")
    tap.result('a_wrong_domain_would_be_noticed', [] if define('', wrong, work) else ['it was taken'])


def playbook(work):
    if not shutil.which('ansible-playbook'):
        tap.skip('playbook_is_understood_by_ansible', 'ansible-core is not installed')
        return
    # The collection itself is no part of Debian's ansible-core; its module is known by name alone here.
    modules = work / 'collections/ansible_collections/community/libvirt/plugins/modules'
    modules.mkdir(parents=True)
    (modules / 'virt.py').write_text('DOCUMENTATION = "module: virt"\n')
    env = {**os.environ, 'ANSIBLE_COLLECTIONS_PATH': str(work / 'collections'), 'HOME': str(work),
           'ANSIBLE_LOCALHOST_WARNING': 'False', 'LC_ALL': 'C.UTF-8'}
    result = subprocess.run(['ansible-playbook', '--syntax-check', '-i', 'localhost,',
                             EXAMPLES / 'playbook.yml'], capture_output=True, text=True, env=env)
    wrong = result.stderr.splitlines() if result.returncode else []
    tap.result('playbook_is_understood_by_ansible', wrong)


def nova():
    parser = configparser.ConfigParser(strict=True, interpolation=None)
    parser.read(EXAMPLES / 'nova.conf')
    uri = parser.get('libvirt', 'connection_uri', fallback='')
    wrong = [] if uri == 'xen:///system' else [f'connection_uri is {uri!r}']
    tap.result('nova_conf_is_well_formed_and_names_our_uri', wrong)


def cloud_init():
    try:
        import jsonschema
        import yaml
    except ImportError as error:
        tap.skip('cloud_init_data_is_valid_by_its_schema', str(error))
        return
    data = yaml.safe_load((EXAMPLES / 'cloud-init/user-data').read_text())
    meta = yaml.safe_load((EXAMPLES / 'cloud-init/meta-data').read_text())
    network = yaml.safe_load((EXAMPLES / 'cloud-init/network-config').read_text())
    wrong = [f'meta-data has no {key}' for key in ('instance-id', 'local-hostname') if key not in meta]
    if network.get('version') != 2 or not network.get('ethernets'):
        wrong.append('network-config is not version 2')
    tap.result('cloud_init_data_is_well_formed', wrong)
    try:
        tree = cache.unpacked(['cloud-init'])
    except (RuntimeError, OSError) as error:
        tap.skip('cloud_init_data_is_valid_by_its_schema', f'cloud-init cannot be fetched: {error}'[:200])
        return
    rules = next(tree.rglob('schema-cloud-config-v1.json'))
    wrong = [f'{"/".join(map(str, e.absolute_path))}: {e.message}'
             for e in jsonschema.Draft4Validator(json.loads(rules.read_text())).iter_errors(data)]
    tap.result('cloud_init_data_is_valid_by_its_schema', wrong)


def main():
    os.environ.update(SERAI_LIBVIRT_DRIVER_DIR=sys.argv[1], LIBVIRT_DRIVER_DIR=sys.argv[2], LC_ALL='C',
                      LIBVIRT_LOG_OUTPUTS='4:stderr')
    with tempfile.TemporaryDirectory(prefix='serai-examples-') as work:
        xml(pathlib.Path(work))
        playbook(pathlib.Path(work))
    nova()
    cloud_init()
    tap.done()


main()
