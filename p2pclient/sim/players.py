"""Who presses the keys of a simulated match, and what the truth about it is."""

from __future__ import annotations

from random import Random

from p2pclient.common.frames import pack_seat_input
from p2pclient.match.match import Match
from p2pclient.match.sources import Sample
from p2pclient.sim.environment import KEYS

_UNFOCUSED_SHARE = 0.02


class Player:
    """Holds keys for a few frames at a time, and notes for which frame each press must count.

    The frame is worked out here, never asked from the queue that is under test, and from the rule alone: the frame at
    hand plus the seat's input delay; the frames that a raised delay opens repeat the press before, or hold no press
    where keys act once.

    Args:
        seat: whose keys.
        width: bytes of an input in the environment.
        hold: a key is held for 1 to so many frames.
        acts_once: each press acts in one frame.
    """

    def __init__(self, seat: int, *, seed: str, width: int, hold: int, acts_once: bool = False) -> None:
        self.seat = seat
        self.match: Match | None = None
        """Whose frames these are; set before the first tick."""
        self.inputs: dict[int, list[bytes]] = {}
        """By episode: what the seat presses, as sent, by frame from 0 on."""
        self.problems: list[str] = []
        self._random = Random(seed)
        self._holds: list[int] = []
        self._left = 0
        self._hold = hold
        self._acts_once = acts_once
        self._neutral = bytes(width)
        # Every byte differs from press to press, so that wide inputs cost on the wire what they can cost at most.
        payloads = [bytes([key * (1 + 37 * at) & 0xFF for at in range(width)]) for key in range(KEYS)]
        self._samples = [[Sample(payload, focused, None) for payload in payloads] for focused in (False, True)]
        self._inputs = [
            [pack_seat_input(sample.payload, focused=bool(focused)) for sample in samples]
            for focused, samples in enumerate(self._samples)
        ]
        self._focused, self._key = 1, 0

    def sample(self) -> Sample:
        """Return the input for the frame at hand."""
        if self._left == 0:
            self._press_another()
        self._left -= 1
        self._note(self._inputs[self._focused][self._key])
        return self._samples[self._focused][self._key]

    def _press_another(self) -> None:
        # Every length of a hold comes once in each round, and every press is another key than the one before, so that
        # all players press equally often and what differs between two sides is not theirs.
        draw = self._random
        if not self._holds:
            self._holds = list(range(1, self._hold + 1))
            draw.shuffle(self._holds)
        self._left = self._holds.pop()
        self._key = (self._key + draw.randrange(1, KEYS)) % KEYS
        self._focused = int(draw.random() >= _UNFOCUSED_SHARE)

    def _note(self, value: bytes) -> None:
        assert self.match is not None
        episode = self.match.episode
        assert episode is not None
        frame = episode.session.current_frame + episode.session.delay(self.seat)
        pressed = self.inputs.get(episode.number)
        if pressed is None:
            pressed = self.inputs[episode.number] = []
        missing = frame - len(pressed)
        if missing > 0:
            self._fill(pressed, missing)
        elif missing < 0:
            self.problems.append(f"seat {self.seat} was read for frame {frame} twice")
            return
        pressed.append(value)

    def delay_changed(self) -> None:
        """The seat's input delay is another one from here on: the frames that a longer one opens are filled now."""
        assert self.match is not None
        episode = self.match.episode
        if episode is not None and episode.number in self.inputs:
            pressed = self.inputs[episode.number]
            self._fill(pressed, episode.session.current_frame + episode.session.delay(self.seat) - len(pressed))

    def start_again(self, episode: int, *, known: int, frame: int, delay: int) -> None:
        """The program was started again: only what somebody else had of the presses counts, and nothing is pressed
        in the frames for which the input delay leaves no sample.

        Args:
            known: the first frame of which nobody has the input.
            frame: that is played next.
        """
        pressed = self.inputs.setdefault(episode, [])
        del pressed[known:]
        pressed.extend([pack_seat_input(self._neutral, focused=True)] * (frame + delay - len(pressed)))
        for later in [number for number in self.inputs if number > episode]:
            del self.inputs[later]

    def _fill(self, pressed: list[bytes], missing: int) -> None:
        # Before the first input there is nothing to repeat: neutral, with the keyboard at hand.
        filler = pressed[-1] if pressed else pack_seat_input(self._neutral, focused=True)
        if self._acts_once:
            filler = filler[:1] + self._neutral
        pressed.extend([filler] * missing)
