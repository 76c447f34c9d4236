"""Deliberate faults of the session, the protocol and the telemetry, like those that people make."""

from __future__ import annotations

from mutation_rig import faults_in

ROLLBACK = [
    *faults_in(
        "rollback/input_queue.py",
        "rollback_queue rollback_prediction rollback_drops rollback_session",
        ("held inputs do not count", "self.last_added + len(self._held) + 1 or", "self.last_added + 1 or"),
        ("the newest is assumed", "        if frame <= self.last_added:\n", "        if frame < self.last_added:\n"),
        ("latest mistake counts", "or frame < self.first_incorrect:", "or frame > self.first_incorrect:"),
        ("a neutral frame too many", "self._values = [neutral] * delay", "self._values = [neutral] * (delay + 1)"),
        ("nothing to predict from", "len(self._values) - 1)\n        if count", "len(self._values))\n        if count"),
        ("last frame stays", "self.last_added = self.cut = after", "self.cut = after"),
        ("a fill too many", "max(0, self.next_read - 1 + delay", "max(0, self.next_read + delay"),
        ("a sample after the cut", "+ 1 or self.cut is not None:", "+ 1:"),
    ),
    *faults_in(
        "rollback/session.py",
        "rollback_session rollback_snapshots rollback_drops rollback_modes rollback_prediction",
        (
            "a frame beyond the window",
            "(self._newest_remote + 1) < self._window",
            "(self._newest_remote + 1) <= self._window",
        ),
        (
            "waits for who is gone",
            "if queue.last_added < newest and queue.cut is None:",
            "if queue.last_added < newest:",
        ),
        ("a snapshot too early", "while saved[-1] > first:", "while saved[-1] >= first:"),
        ("no snapshot at the unsettled", ">= spacing or frame + 1 == unsettled:", ">= spacing:"),
        (
            "settled before it is simulated",
            "        settled = min(self._newest_of_all, self.current_frame - 1)\n",
            "        settled = self._newest_of_all\n",
        ),
        ("drops what a load needs", "saved[count + 1] <= oldest:", "saved[count + 1] <= oldest + 1:"),
        ("gone before what is settled", "if after < self._settled:", "if after < self._settled - 1:"),
        ("keeps too little", "else min(keep_from, needed)", "else max(keep_from, needed)"),
        ("corrects for ever", "            queue.reset_prediction()\n", "            queue.release()\n"),
        (
            "does not look after a release",
            "            queue.release()\n            self._changed = True\n",
            "            queue.release()\n",
        ),
    ),
    *faults_in(
        "rollback/chain.py",
        "rollback_chain",
        ("agreement goes back", "if frame <= self._agreed[peer] or frame not in", "if frame not in"),
        (
            "one peer verifies for all",
            "min(self._agreed.values())\n            return",
            "max(self._agreed.values())\n            return",
        ),
        ("what was withdrawn counts", "            self._outdated[peer] = outdated.get(peer, frame)\n", ""),
        ("compares a frame late", "while ahead and ahead[0][0] <= frame:", "while ahead and ahead[0][0] < frame:"),
        ("only the newest waits", "ahead[1:] = [(frame, value)]", "ahead[:] = [(frame, value)]"),
        ("the ordered lane is not heard", "if not in_order and frame <=", "if frame <="),
        ("keeps what is after a rewind", "            self._waiting[peer].clear()\n", ""),
    ),
    *faults_in(
        "rollback/pacing.py",
        "rollback_pacing",
        ("swapped sides", "(own_lead - peer_lead) / 2", "(peer_lead - own_lead) / 2"),
        ("wind-up", "        self._sum -= error  #", "        pass  #"),
        ("fast only when ahead", "if abs(error) > _FAST_BEYOND:", "if error > _FAST_BEYOND:"),
    ),
    *faults_in(
        "rollback/budget.py",
        "rollback_budget",
        ("a lone hiccup counts", "ordered[_UPPER_QUARTILE * len(ordered) // _SAMPLES]", "ordered[-1]"),
        ("swings", "min(2 * self._patience, _MOST_PATIENCE)", "min(self._patience, _MOST_PATIENCE)"),
        ("forgets the frames before", "/ spacing)) - spacing", "/ spacing))"),
        ("never forgives", "if self._roomy >= _FORGIVE:", "if self._roomy >= 1e9:"),
        (
            "grows at once",
            "            self._roomy = 0.0\n            self._has_grown = True\n",
            "            self._has_grown = True\n",
        ),
    ),
    *faults_in(
        "rollback/delay.py",
        "rollback_delay",
        ("both ways", "late = (rtt / 2 +", "late = (rtt +"),
        ("a spike counts", "self._least = min(self._least, needed)", "self._least = max(self._least, needed)"),
        ("a part of a frame is enough", "if needed > self._delay - 1:", "if needed > self._delay:"),
        ("a full window", "return min(window - 1, max(0,", "return min(window, max(0,"),
    ),
    *faults_in(
        "rollback/prediction.py",
        "rollback_prediction rollback_queue",
        ("focus is lost", "newest[:1] + payload", 'b"\\x00" + payload'),
    ),
]

PROTOCOL = [
    *faults_in(
        "protocol/datagram.py",
        "protocol_datagram",
        ("zero is negative", "value << 1 if value >= 0", "value << 1 if value > 0"),
        ("one frame too few", "if count > MAX_FRAMES:", "if count >= MAX_FRAMES:"),
        ("short numbers", "for shift in (7, 14, 21, 28):", "for shift in (7, 14, 21):"),
        ("the oldest are left out", "inputs[: len(inputs) * 3 // 4]", "inputs[len(inputs) // 4 :]"),
        ("any chain frame", " and 0 <= newest <= _MAX_FRAME):", "):"),
        ("a lead that wraps", "max(-127, min(127,", "max(-128, min(127,"),
    ),
    *faults_in(
        "protocol/compress.py",
        "protocol_datagram",
        ("a token that says more", "if skip < _MANY_ZEROS and", "if skip <= _MANY_ZEROS and"),
        ("cut short", "if len(mixed) != size or at > packed_size:", "if len(mixed) != size:"),
        ("undone in wrong steps", "shift *= 2", "shift += 8 * width"),
    ),
    *faults_in(
        "protocol/control.py",
        "protocol_control",
        ("a piece past the last", "if self.index >= self.count:", "if self.index > self.count:"),
        ("any number of pieces", "Meta(ge=1, le=MAX_STATE_PARTS)", "Meta(ge=1)"),
        (
            "one byte too few",
            "if len(data) > MAX_CONTROL_BYTES:\n        raise",
            "if len(data) >= MAX_CONTROL_BYTES:\n        raise",
        ),
        ("any delay", "Meta(ge=0, le=MAX_DELAY)", "Meta(ge=0)"),
        ("any totals", "list[float], msgspec.Meta(max_length=MAX_LOST_PEERS)]", "list[float], msgspec.Meta()]"),
        (
            "frames before 0 are watched",
            '    frame: Number\n    """The next frame of',
            '    frame: int\n    """The next frame of',
        ),
    ),
    *faults_in(
        "protocol/endpoint.py",
        "protocol_endpoint protocol_lanes protocol_stats",
        ("a right acknowledgement", "if message.next_expected > queued_to:", "if message.next_expected >= queued_to:"),
        ("the next one is a gap", "if message.first_frame > expected:", "if message.first_frame >= expected:"),
        ("takes inputs twice", "message.inputs[expected - message.first_frame :]", "message.inputs"),
        (
            "takes a message twice",
            "if envelope.number == self._control_heard + 1:",
            "if envelope.number >= self._control_heard:",
        ),
        ("one is never acknowledged", "[0][0] <= envelope.acknowledged:", "[0][0] < envelope.acknowledged:"),
        ("never answers", "        self._acknowledge_due = True\n", ""),
        ("old is newer", "return age < 0x8000 or", "return age < 0x10000 or"),
        ("the holding time counts", "(elapsed - message.held) * TIME_UNIT", "elapsed * TIME_UNIT"),
        ("noticed late", "quiet >= NOTICE_AFTER", "quiet > NOTICE_AFTER"),
        (
            "a frame past the limit",
            "if self.newest_heard + len(fresh) >= self.limit:",
            "if self.newest_heard + len(fresh) > self.limit:",
        ),
        ("acknowledged inputs are open", "            self._unacknowledged.popleft()\n", ""),
    ),
    *faults_in(
        "protocol/clock.py",
        "protocol_clock",
        ("stamps are exact", "since - (held - 1) * TIME_UNIT", "since - held * TIME_UNIT"),
        ("clocks never drift", "DRIFT = 0.001", "DRIFT = 0.0"),
        ("as of now", "low + width - DRIFT * (now - since)", "low + width - DRIFT * now"),
        ("believes what was held up", "        if now < self._trusted_from:\n            return\n", ""),
        ("before it was sent", "if not 0 <= width <= _MOST:", "if not width <= _MOST:"),
        ("jumps in silence", "            self.jumps += 1\n", ""),
        ("the newest counts", "both = max(low, self._low - turns), min(high, self._high - turns)", "both = low, high"),
        ("known for ever", "        if high - low > _MOST:\n            return None\n", ""),
    ),
    *faults_in(
        "protocol/handshake.py",
        "protocol_control",
        ("what only they say", "for name in [*ours, *(n for n in theirs if n not in ours)]:", "for name in ours:"),
        ("true is 1", "if mine != other or type(mine) is not type(other):", "if mine != other:"),
    ),
    *faults_in(
        "protocol/stats.py",
        "protocol_stats",
        ("the newest is lost", "self.lost += steps - 1", "self.lost += steps"),
        ("late ones stay lost", "            self.lost -= 1\n", ""),
    ),
]

TELEMETRY = [
    *faults_in(
        "telemetry/counters.py",
        "telemetry_match",
        ("the tick's own frame", "+= decision.advanced - 1", "+= decision.advanced"),
        ("withdrawn stay confirmed", "        self.confirmed_frames -= frames\n", ""),
        ("swapped sides", "(lead - theirs) / 2", "(theirs - lead) / 2"),
    ),
    *faults_in(
        "telemetry/histogram.py",
        "telemetry_histogram",
        ("a rank too low", "bisect_right(up_to, rank)", "bisect_right(up_to, rank - 1)"),
        ("no negatives", "return -_bucket_of(-value)", "return _bucket_of(-value)"),
        ("what waits is not included", "            other.sort_in()\n", ""),
    ),
    *faults_in(
        "telemetry/match.py",
        "telemetry_match",
        (
            "a barrier is a long tick",
            "        self._ticked_at = None\n        self._end_stall()",
            "        self._end_stall()",
        ),
        ("a frame of lag too many", "lag = frame - 1 - confirmed", "lag = frame - confirmed"),
        ("a stall has no end", "        elif self._stalled:\n            self._end_stall()\n", ""),
    ),
]

ENGINE = [*ROLLBACK, *PROTOCOL, *TELEMETRY]
