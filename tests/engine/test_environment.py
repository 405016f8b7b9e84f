"""MMEngine's report of the environment."""

import sysconfig

from mmengine.utils.dl_utils import collect_env

from mmblocks.engine.environment import report_no_missing_compiler


def test_a_machine_without_a_compiler_is_nothing_to_complain_about(monkeypatch, capfd):
    monkeypatch.setitem(sysconfig.get_config_vars(), 'CC', '/nowhere/no-such-gcc -pthread')
    report_no_missing_compiler()
    assert collect_env()['GCC'] == 'n/a'
    assert capfd.readouterr().err == ''
