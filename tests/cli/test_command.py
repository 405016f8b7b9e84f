"""A tool ends with the right exit code and says one line, or shows a bug."""

import pytest

from mmblocks.cli.command import command
from mmblocks.utils.errors import UserError


def ending(monkeypatch, capsys, error):
    """The exit code of a tool that raises an exception, and what it says."""
    monkeypatch.setattr('sys.argv', ['tool.py'])
    monkeypatch.delenv('MMBLOCKS_DEBUG', raising=False)

    @command
    def tool():
        raise error

    with pytest.raises(SystemExit) as end:
        tool()
    return end.value.code, capsys.readouterr().err


def test_what_the_user_can_put_right_is_one_line(monkeypatch, capsys):
    for error, line in (
        (UserError('no such file'), 'error: no such file\n'),
        (PermissionError(13, 'Permission denied', 'a.txt'), "Permission denied: 'a.txt'\n"),
    ):
        code, said = ending(monkeypatch, capsys, error)
        assert code == 2
        assert said.endswith(line)
        assert said.count('\n') == 1
    assert ending(monkeypatch, capsys, KeyboardInterrupt()) == (130, 'interrupted\n')


def test_of_several_processes_the_others_wait_for_the_first(monkeypatch, capsys):
    waited = []
    monkeypatch.setattr('mmblocks.cli.command.time.sleep', waited.append)
    monkeypatch.setenv('RANK', '0')
    assert ending(monkeypatch, capsys, UserError('no'))[1] == 'error: no\n'
    assert waited == []
    monkeypatch.setenv('RANK', '1')
    assert ending(monkeypatch, capsys, UserError('no'))[1] == '[rank 1] error: no\n'
    assert len(waited) == 1


@pytest.mark.parametrize('kind', [ValueError, TypeError, AttributeError, AssertionError])
def test_a_bug_is_shown_as_it_is(kind, monkeypatch):
    monkeypatch.setattr('sys.argv', ['tool.py'])

    @command
    def tool():
        raise kind('a slip of its author')

    with pytest.raises(kind, match='a slip'):
        tool()
