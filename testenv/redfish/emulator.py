"""sushy's Redfish emulator with a machine behind it: power is what the chassis script says and does.

emulator.py CONFIGURATION CHASSIS

CHASSIS is called as OpenIPMI's chassis control is: `get power` prints `power:0` or `power:1`, `set power 0|1` switches. sushy's own
fake driver keeps the state in a file, switches nothing, and takes up to eleven seconds to say so.
"""
import subprocess
import sys

from sushy_tools.emulator import main
from sushy_tools.emulator.resources.systems import fakedriver


def chassis(*words):
    return subprocess.run([CHASSIS, *words], check=True, capture_output=True, text=True).stdout


def get_power_state(self, identity):
    self._get(identity)
    return 'On' if chassis('get', 'power').strip() == 'power:1' else 'Off'


def set_power_state(self, identity, state):
    self._get(identity)
    if state == 'ForceOff':
        chassis('set', 'power', '0')
    elif state in ('On', 'ForceOn'):
        chassis('set', 'power', '1')
    # GracefulShutdown and the rest are accepted, and nothing follows: as on a machine whose system hangs.


if __name__ == '__main__':
    CHASSIS = sys.argv.pop()
    configuration = sys.argv.pop()
    fakedriver.FakeDriver.get_power_state = get_power_state
    fakedriver.FakeDriver.set_power_state = set_power_state
    sys.argv += ['--fake', '--config', configuration]
    sys.exit(main.main())
