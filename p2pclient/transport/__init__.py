"""Edge: carries bytes between peers and knows no message.

``base`` says what a transport is. ``rtc`` carries over WebRTC data channels and is the only module here, with those
it alone imports, that loads aiortc: import it where 0.4 s do not show. ``memory`` carries inside one process.
``impairment`` decides, as a pure object, what a bad network would do to each message.
"""
