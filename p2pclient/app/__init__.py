"""Edge: the window. The only package that imports pygame.

The runtime publishes a :class:`~p2pclient.common.presentation.Presentation`; the window draws the newest one and hands
back what the person did. It knows no match, no network and no process.

::

    mailbox.py   what passes between the runtime and the window
    window.py    the loop on the main thread: events in, pictures out
    display.py   the window of the system: opening, full screen, screensaver
    keys.py      pygame events -> key positions; pygame events stop here
    screens.py   one composition per Screen; hud.py: what lies over the picture of the environment
    draw.py      parts that changed are painted, nothing else
    blocks.py, widgets.py, picture.py, text.py, theme.py   what screens are made of
    gallery.py   every screen at three sizes as PNG, for eyes
"""

import os

# Standard output belongs to the command that was called (``--json``), not to a greeting of the library.
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
# pygame would name our windows after the script that was started.
os.environ.setdefault("SDL_VIDEO_X11_WMCLASS", "tandem")
