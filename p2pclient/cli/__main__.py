"""``python -m p2pclient.cli`` is the ``tandem`` command."""

from p2pclient.cli.main import entry

entry()
