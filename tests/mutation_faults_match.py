"""Deliberate faults of the match, like those that people make."""

from __future__ import annotations

from mutation_rig import faults_in

DESYNC = faults_in(
    "match/desync.py",
    "match_strangers match_desync match_edges match_hostile",
    ("a state of any frame", "parts is not None and parts.frame == named.frame", "parts is not None"),
    (
        "old rounds count",
        "if message.round not in (2 * self._attempts, 2 * self._attempts + 1):",
        "if message.round > 2 * self._attempts + 1:",
    ),
    (
        "any round counts",
        "if message.round not in (2 * self._attempts, 2 * self._attempts + 1):",
        "if message.round < 2 * self._attempts:",
    ),
    (
        "waits as long as words come",
        "if now - case.heard > PATIENCE or now - case.began > LONGEST:",
        "if now - case.heard > PATIENCE:",
    ),
    (
        "waits without a word",
        "if now - case.heard > PATIENCE or now - case.began > LONGEST:",
        "if now - case.began > LONGEST:",
    ),
    (
        "does not wait for the host",
        "if case.stage is Stage.FETCHING and not is_batch_out:",
        "if case.stage is Stage.FETCHING:",
    ),
    (
        "the newest is not ours",
        "if case.named.frame > episode.recorded or",
        "if case.named.frame >= episode.recorded or",
    ),
    (
        "asks for what is not there",
        "if case.named.frame > episode.recorded or",
        "if case.named.frame > episode.recorded + 1_000 or",
    ),
    ("ends before ours is sent", "return arrived and not any(case.parts.values())", "return arrived"),
    (
        "does not wait for their state",
        "return arrived and not any(case.parts.values())",
        "return not any(case.parts.values())",
    ),
    ("a state crowds out all else", "while waiting and peer.endpoint.open_control < _OPEN_PARTS:", "while waiting:"),
    ("one attempt too many", "self._attempts >= MAX_ATTEMPTS:", "self._attempts > MAX_ATTEMPTS:"),
    ("simulates from a frame late", "plan_resimulation(case.after + 1)", "plan_resimulation(case.after + 2)"),
    (
        "withdraws what is verified",
        "FramesWithdrawn(episode.number, case.after + 1)",
        "FramesWithdrawn(episode.number, case.after)",
    ),
    ("withdraws nothing", "if recorded > case.after else None", "if recorded < case.after else None"),
    ("values under way count", "episode.withdraw(case.after, newest)", "episode.withdraw(case.after, {})"),
    ("rounds are told again", "        self._attempts += 1\n", ""),
    (
        "still unreported",
        '        core.unreported = None\n        self._write_report(case, "agreed")',
        '        self._write_report(case, "agreed")',
    ),
    ("told as played", "self._tell_checksums(2 * self._attempts + 1)", "self._tell_checksums(2 * self._attempts)"),
    ("tells of a verified frame", "if kept else case.after + 1", "if kept else case.after"),
    ("their end stays", "        peer.over.pop(message.episode, None)\n", ""),
    ("compares what was played", "self._compare(2 * self._attempts + 1)", "self._compare(2 * self._attempts)"),
    ("one list is enough", "return all((peer.id, number) in", "return any((peer.id, number) in"),
    ("the case stays open", "        self._case = None\n        self._attempts", "        self._attempts"),
    ("bad pieces are not counted", "            peer.endpoint.drops[error.reason] += 1\n", "            del error\n"),
)

COURSES = [
    *faults_in(
        "match/delays.py",
        "match_delays match_edges",
        (
            "episodes do not count",
            "(due[0].episode, due[0].frame) <= (core.number, core.episode.session.current_frame)",
            "due[0].frame <= core.episode.session.current_frame",
        ),
        ("a change that is none", "        if frames == before:\n            return\n", ""),
        (
            "the smallest wish",
            "min(max([*wishes, allowed[0]]), allowed[1])",
            "min(*wishes, allowed[1])",
        ),
        ("who is gone still wishes", " if side == core.plan.own_id or side in core.peers]", "]"),
        ("named again and again", "if delay != self._agreed:", "if delay != core.plan.input_delay:"),
        ("everybody names", "core.plan.own_id != self._leader() or ", ""),
        ("anybody is heard", "peer != self._leader() or ", ""),
        ("the highest seat", "return min((min(held), owner) for", "return max((min(held), owner) for"),
        ("at once", "ahead = _LEAD_TIME + (core.peers.rtt or 0.0)", "ahead = 0.0"),
        ("below what is allowed", "not allowed[0] <= message.delay <= allowed[1]", "message.delay > allowed[1]"),
        ("a wish in every look", "        if self._wishes.get(core.plan.own_id) != wish:\n", "        if wish >= 0:\n"),
        ("filled is left out", "max(0, -filled)", "max(0, filled)"),
        ("due for ever", "change = due.pop(0)", "change = due[0]"),
        ("any number is due", "len(self._due) < _MOST_DUE and ", ""),
        ("as close together as named", "newest.frame + apart)", "newest.frame)"),
        (
            "the session is not told",
            "filled = episode.session.set_delay(seat, frames) if episode is not None else 0",
            "filled = 0",
        ),
    ),
    *faults_in(
        "match/drops.py",
        "match_strangers match_edges match_drops",
        ("two alone go on", "len(plan.peers) > 1 and ", ""),
        ("no accusation needed", "if agreement is None or peer.id not in agreement.accused:", "if agreement is None:"),
        ("no silence needed", "return peer.endpoint.silent_for(now=now) >= LOST_AFTER", "return True"),
        ("still sampled", "        core.telemetry.lose_peer(peer.id)\n", ""),
        ("cuts of the last episode", "        self._applied.clear()\n", ""),
        ("cut twice", "sorted(verdict.lost - self._applied)", "sorted(verdict.lost)"),
        (
            "nothing takes effect",
            'what is agreed takes effect."""\n        self._carry_out(now)',
            'what is agreed takes effect."""',
        ),
        (
            "barriers are passed",
            "isinstance(self._agreement.verdict, Undecided)",
            "isinstance(self._agreement.verdict, Partition)",
        ),
        (
            "survives a desync",
            "Phase.PLAYING, Phase.EPISODE_OVER})",
            "Phase.PLAYING, Phase.EPISODE_OVER, Phase.DIVERGED})",
        ),
        (
            "the lost are not told",
            "                peers.even_lost(peer_id).endpoint.queue_control(message)\n",
            "                pass\n",
        ),
        ("reports without end", "endpoint.open_control < _OPEN_MESSAGES:", "peer_id:"),
        (
            "told again in every tick",
            "                del self._untold[peer_id]\n                for",
            "                for",
        ),
        ("one frame late", "after=cut, inputs=", "after=cut - 1, inputs="),
        (
            "goes on without news",
            "            self._agreement.receive(peer.id, message, now=now)\n            self._carry_out(now)",
            "            self._agreement.receive(peer.id, message, now=now)",
        ),
    ),
    *faults_in(
        "match/barriers.py",
        "match_drops",
        ("the loser's agreement is old", "        self._drops.begin_episode(now=now)\n", ""),
    ),
    *faults_in(
        "match/barriers.py",
        "match_hostile match match_edges match_strangers",
        (
            "who is faster is not heard",
            "if message.episode in (self._core.number, self._core.number + 1):",
            "if message.episode == self._core.number:",
        ),
        (
            "any barrier counts",
            "if message.episode in (self._core.number, self._core.number + 1):",
            "if message.episode >= 0:",
        ),
        (
            "any end counts",
            "        if message.episode == self._core.number:\n            peer.over",
            "        if message.episode >= 0:\n            peer.over",
        ),
        ("all frames again", "left = plan.frames - self._finished_frames if", "left = plan.frames if"),
        ("the wider limit", "return min(limits) if", "return max(limits) if"),
        ("any first state", "if theirs != self._first_checksum:", "if not theirs:"),
        (
            "a frame less",
            "self._finished_frames += episode.last_frame + 1",
            "self._finished_frames += episode.last_frame",
        ),
        ("an episode too many", "core.number >= core.plan.episodes", "core.number > core.plan.episodes"),
        (
            "an earlier end is the same",
            "if over.last_frame != episode.last_frame:",
            "if over.last_frame > episode.last_frame:",
        ),
        (
            "times are left out",
            "take_complete(now, all_of_them=True))\n        core.out.records.append(EpisodeEnded",
            "take_complete(now))\n        core.out.records.append(EpisodeEnded",
        ),
        ("no time for a goodbye", "self.leave_at = now + GOODBYE", "self.leave_at = now"),
        (
            "nobody is waited for",
            "if core.phase is Phase.BARRIER and all(core.number in p.ready for p in core.peers):",
            "if core.phase is Phase.BARRIER:",
        ),
    ),
    *faults_in(
        "match/evidence.py",
        "match_evidence",
        ("pieces in any order", "part.index == len(self.pieces) and ", ""),
        ("one piece is missing", "len(self.pieces) == self.count", "len(self.pieces) >= self.count - 1"),
        (
            "the longest is too long",
            "len(state) > MAX_PART_BYTES * MAX_STATE_PARTS",
            "len(state) >= MAX_PART_BYTES * MAX_STATE_PARTS",
        ),
        ("frames in their order of arrival", "for frame in sorted({", "for frame in reversed({"),
        ("only ours count", "(ours, *lists.values()) for frame in each}", "(ours,) for frame in each}"),
        (
            "whatever number of pieces",
            "(part.count, part.frame) != (self.count, self.frame)",
            "part.frame != self.frame",
        ),
        (
            "pieces of several frames",
            "(part.count, part.frame) != (self.count, self.frame)",
            "part.count != self.count",
        ),
    ),
    *faults_in(
        "match/agreement.py",
        "match_agreement",
        (
            "half is enough",
            "2 * self._seats(side) > self._seats(self._weights)",
            "2 * self._seats(side) >= self._seats(self._weights)",
        ),
        ("who says nothing agrees", "told.get(lost) == last for", "told.get(lost, last) == last for"),
        (
            "news are kept",
            "                self._last[peer] += 1\n                self._is_news = True\n",
            "                self._last[peer] += 1\n",
        ),
        ("swapped patience", "(QUIET if is_mutual else self._patience)", "(self._patience if is_mutual else QUIET)"),
        ("reports of the last episode", "for kept in (self._told, self._known,", "for kept in (self._known,"),
        (
            "any input",
            "if not all(self._is_valid(part.peer, value) for value in part.inputs):",
            "if not part.inputs and part.first_frame:",
        ),
        ("a lost set that shrinks", '            return "shrinking"\n', "            return None\n"),
    ),
]

PLAY = [
    *faults_in(
        "match/episode.py",
        "match_strangers match_desync match_edges match match_drops match_hostile",
        (
            "runs ahead of its time",
            "range(max(1, min(owed, session.confirmed_ahead)) if owed > 1 else 1)",
            "range(owed)",
        ),
        (
            "plays past the end",
            "while self.recorded < settled and self.last_frame is None:",
            "while self.recorded < settled:",
        ),
        ("a frame past the limit", "frame == limit - 1)", "frame == limit)"),
        ("rewards twice", "        self.totals = self._totals_after[after]\n", ""),
        ("the end stays", "        self.last_frame = None\n        self.totals", "        self.totals"),
        ("an input stays here", "local_inputs(self._sent_inputs), self", "local_inputs(self._sent_inputs)[:-1], self"),
        (
            "tells what is verified",
            "session, first = self.session, self.verified + 1",
            "session, first = self.session, self.verified",
        ),
        ("waits for who is gone", "        self.chain.remove(peer)\n", ""),
        ("keeps too few snapshots", "keep_from = self.chain.verified_frame + 1", "keep_from = self.recorded + 1"),
        ("the state before", "self.session.revisit(frame + 1)", "self.session.revisit(frame)"),
        (
            "settles what is not simulated",
            "batch.settled = min(session.confirmed_frame, session.current_frame - 1)",
            "batch.settled = session.confirmed_frame",
        ),
        (
            "focus the wrong way",
            '(b"\\x00" if sample.focused else b"\\x01")',
            '(b"\\x01" if sample.focused else b"\\x00")',
        ),
        ("an end as a limit", '"ended" if result[5] else "limit"', '"limit" if limit is not None else "ended"'),
    ),
    *faults_in(
        "match/match.py",
        "match_strangers match match_hostile match_edges",
        ("all are given up for one", "episode.chain.agreed_with(peer.id) > MOST_UNVERIFIED", "episode.verified > 0"),
        (
            "a reply after the end",
            "if core.phase is not (_DIVERGED if batch.withdraws else _PLAYING):",
            "if core.phase is not _PLAYING and not batch.withdraws:",
        ),
        (
            "owed for ever",
            "self._owed -= batch.advanced or 1",
            "self._owed -= 1",
        ),
        ("finished is lost", ' or peer.left == "finished":', ":"),
        ("a pause of our own", "if now - self._ticked_at < _LATE_TICK:", "if now >= self._ticked_at:"),
        (
            "chain values in a desync",
            "if episode is not None and core.phase is not _DIVERGED:",
            "if episode is not None:",
        ),
    ),
    *faults_in(
        "match/peers.py",
        "match_hostile match_strangers match match_edges",
        ("longer inputs", "        return at == len(joined)\n", "        return True\n"),
        ("who is gone may be heard", "(self.gone and silent >= NOTICE_AFTER)", "self.gone"),
        ("this barrier is forgotten", "if n >= episode}", "if n > episode}"),
        ("the shortest way", "rtt > longest)", "rtt < longest)"),
        ("waits for the gone", "if p.left is None and not p.gone)", "if p.left is None)"),
        ("any flags", "if not value or value[0] & ~UNFOCUSED:", "if not value:"),
    ),
    *faults_in(
        "match/timing.py",
        "match_timing",
        ("the last key", "at < pressed)", "at > pressed)"),
        ("shown again", "if times is not None and times.shown_at is None:", "if times is not None:"),
        (
            "waits a moment longer",
            "now - times.recorded_at < _WAIT_FOR_DISPLAY",
            "now - times.recorded_at <= _WAIT_FOR_DISPLAY",
        ),
        (
            "first time counts as again",
            "        if again:\n            times.resimulated",
            "        if not again:\n            times.resimulated",
        ),
    ),
    *faults_in(
        "match/costs.py",
        "match_costs",
        ("a snapshot is play", 'elif kind != "get_snapshot":', "else:"),
        ("depth is not a rollback", "rolled_back=batch.depth > 0", "rolled_back=batch.depth > 1"),
        ("a load that was none", "loading / 1e6 if batch.resimulated else None", "loading / 1e6"),
        ("a batch as a step", "return stepping / steps / 1e6", "return stepping / 1e6"),
    ),
]

MATCH = [*DESYNC, *COURSES, *PLAY]
