"""Who may join, and as whom: personal links, links for one use, and those who have taken part already. Pure.

1. What a link says goes before what a client says of itself: its label and attributes are those of the link.
2. Who came with a link, and is known by its connection or its token, needs no link again: it stays who it was, also
   when the link has expired, or was for one use.
3. A link for one use belongs to whoever used it first, and to whoever shows that one's token later on.
4. Where finished labels are locked out, who has played a match to its end gets no place again. Its seat in a match that
   runs, and the result that it still has to tell, are its own.

Every refusal that a researcher may be asked about is noted, but the same one for the same person or address not more
than once a minute: nobody can fill the console's log.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from p2pclient.common.lobby_messages import Join
from signaling.effects import Effect, Kept
from signaling.identity import (
    Attribute,
    IdentityRefusal,
    LinkClaims,
    admit,
    check_link,
    clean_label,
    hash_token,
    is_token,
    label_key,
    refusal,
    use_of,
)
from signaling.keeping import Keeping, KeptRoom, ParticipantFacts
from signaling.room_state import Participant, RoomState
from signaling.store import interface as store

NOTED_AGAIN_AFTER_S = 60.0
MOST_NOTED = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """As whom somebody may join."""

    label: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    claims: LinkClaims | None = None
    """What was signed of it; None for who came without a link."""


@dataclass(frozen=True, slots=True)
class _Use:
    """Who has used a link for one use."""

    participant: str
    token_hash: str


class Membership:
    """See the module's docstring for the rules.

    Args:
        secret: signs the links; None: every link is refused.
        keeping: says whether uses are kept, and what second 0 of the room's clock is.
    """

    def __init__(self, state: RoomState, keeping: Keeping, secret: bytes | None) -> None:
        self._state = state
        self._keeping = keeping
        self._secret = secret
        self._used: dict[str, _Use] = {}
        self._finished: dict[str, store.Participant] = {}
        """Who has taken part to the end, by the key of its label."""
        self._noted: OrderedDict[tuple[str, str], float] = OrderedDict()

    def restore(self, kept: KeptRoom) -> None:
        """Go on with what an earlier server kept."""
        tokens = {each.id: each.token_hash for each in kept.participants}
        self._used = {link: _Use(who, tokens.get(who, "")) for link, who in kept.used_links.items()}
        for each in kept.participants:
            try:
                facts = msgspec.convert(each.room, ParticipantFacts)
            except ValueError:  # said by whoever restores the participants
                facts = ParticipantFacts()
            if facts.link:
                self._used[facts.link] = _Use(each.id, each.token_hash)
            if each.finished and each.label and (facts.signed or not each.bot):
                self._finish(each.id, each.label)

    def note_finished(self, changed: Iterable[Participant]) -> None:
        """Remember those of them who have taken part to the end."""
        for each in changed:
            label = each.kept_label or each.label
            if each.finished and label and (each.is_signed or not each.bot):
                self._finish(each.id, label)

    def _finish(self, who: str, label: str) -> None:
        record = store.Participant(id=who, study_id="", label=label, finished=True)
        self._finished.setdefault(label_key(label), record)

    def admit(self, connection: str, join: Join, *, now: float) -> Entry:
        """Return as whom somebody may join; changes nothing but the log.

        Raises:
            SignalingError: one of :data:`~signaling.identity.REFUSALS`.
        """
        known = self._state.connections.get(connection)
        if known is None and join.token is not None:
            known = self._state.tokens.get(hash_token(join.token))
        if known is not None and known.is_ours:
            return Entry(known.label, join.attributes)
        claims: LinkClaims | None = None
        try:
            if known is not None and known.is_signed:
                claims = LinkClaims(label=known.label, attributes=dict(known.attributes))
            elif join.link is not None:
                claims = self._claims(join.link, join, known, now)
            earlier = self._earlier(claims.label if claims else join.label, join)
            label, attributes = admit(self._state.rules.join, label=join.label, claims=claims, earlier=earlier)
        except IdentityRefusal as error:
            label = error.label or (claims.label if claims else "")
            self._note(error, label, self._state.addresses.get(connection, ""), now)
            raise
        if claims is None:
            return Entry(label, join.attributes)
        return Entry(label, {name: _text(value) for name, value in attributes.items()}, claims)

    def enter(self, known: Participant, entry: Entry, *, now: float) -> list[Effect]:
        """Somebody has joined so; returns what is to be kept of its link, together with the participant."""
        claims = entry.claims
        known.is_signed = claims is not None
        if claims is None or claims.link_id is None:
            return []
        first = claims.link_id not in self._used
        known.link_id = claims.link_id
        known.touch()
        self._used[claims.link_id] = _Use(known.id, known.token_hash)
        use = use_of(claims, known.id, now=self._keeping.time(now))
        return [Kept(use)] if first and use is not None and self._keeping.study is not None else []

    def _claims(self, link: str, join: Join, known: Participant | None, now: float) -> LinkClaims:
        """Check a link, and whose it is."""
        if self._secret is None:
            raise refusal("link-invalid")
        claims = check_link(self._secret, link, now=self._keeping.time(now))
        use = self._used.get(claims.link_id or "")
        is_own = use is None or (known is not None and known.id == use.participant)
        if is_own or (use is not None and join.token is not None and is_token(join.token, use.token_hash)):
            return claims
        if self._earlier(claims.label, join) and self._state.rules.join.lock_finished:
            raise refusal("already-finished", claims.label)  # the kinder reason
        raise refusal("link-used", claims.label)

    def _earlier(self, label: str, join: Join) -> tuple[store.Participant, ...]:
        """Return who has taken part under a label; nobody where it does not count."""
        if join.match_id is not None or not label.strip():
            return ()
        done = self._finished.get(label_key(clean_label(label)))
        return () if done is None else (done,)

    def _note(self, error: IdentityRefusal, label: str, address: str, now: float) -> None:
        """Tell the researcher who was not let in, and why. Of what was not signed, only the address counts."""
        key = (error.code, label or address)
        last = self._noted.pop(key, None)
        if last is not None and now - last < NOTED_AGAIN_AFTER_S:
            self._noted[key] = last
            return
        self._noted[key] = now
        while len(self._noted) > MOST_NOTED:
            self._noted.popitem(last=False)
        who = " at ".join(each for each in (label or "Somebody", address) if each)
        self._state.note("refused", f"{who} was not let in ({error.code}): {error}", now, severity="warning")


def _text(value: Attribute) -> str:
    """Return an attribute as the matcher compares it: the texts that ``--attribute`` gives are themselves."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
