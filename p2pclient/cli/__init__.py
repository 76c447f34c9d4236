"""The ``tandem`` command: one module per sub-command, and the place where everything is put together."""
