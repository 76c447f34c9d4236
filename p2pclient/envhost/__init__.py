"""The environment in a process of its own: ``host*`` and ``values*`` run there, the rest runs in the client.

Nothing is imported here, because the host's interpreter may lack what the client's side needs.
"""
