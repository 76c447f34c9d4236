"""What every store must do, as functions: any implementation of ``Store`` is run against all of them.

``make_store`` returns a new, empty store. A check closes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from msgspec.structs import replace

from p2pclient.common.errors import LocalMisuseError, StoreError, StoreRefusal
from signaling.store.interface import (
    MAX_BATCH_RECORDS,
    Account,
    AccountRemoved,
    AuditLine,
    ConsoleSession,
    Count,
    Decision,
    LinkUse,
    Match,
    Participant,
    Record,
    SessionEnded,
    SessionsEnded,
    Store,
    Study,
)

MakeStore = Callable[[], Store]
Check = Callable[[Store], Awaitable[None]]

_HASH, _OTHER_HASH, _THIRD_HASH = "0a" * 32, "1b" * 32, "2c" * 32


async def refused(store: Store, records: Sequence[Record]) -> str:
    """Return the code with which a batch is refused; empty if it is kept."""
    try:
        await store.write(records)
    except StoreRefusal as error:
        return error.code
    return ""


async def misused(store: Store, records: Sequence[Record]) -> bool:
    """Is a batch turned down as one that breaks the contract?"""
    try:
        await store.write(records)
    except LocalMisuseError:
        return True
    return False


def account(name: str = "ada", **fields: object) -> Account:
    """Return an account to begin with."""
    return Account(**{"name": name, "password_hash": "$none$", "role": "viewer", **fields})  # type: ignore[arg-type]


async def check_every_field_comes_back(store: Store) -> None:
    """What is written is what is read, types and all."""
    study = Study(id="s", name="Küche – 台所", settings={"a": [1, 2.5, None, {"b": True}]}, created_at=1.25)
    someone = Participant(
        id="p-1", study_id="s", token_hash=_HASH, label="O'Neill \U0001f600\x00", station="LAB03", bot=True,
        attributes={"group": "A", "order": [3, 1]}, state="excluded", reason="too far", finished=True, locked=True,
        created_at=1.0, changed_at=2.0,
    )  # fmt: skip
    nobody = Participant(id="p-2", study_id="s")
    match = Match(
        id="0001-ab", study_id="s", seed=(1 << 53) - 1, settings={"rate_hz": 30}, seats=("p-1", "p-2"), state="ended",
        reason="complete", created_at=3.0, started_at=4.5, ended_at=5.5, results=({"frames": 9},),
    )  # fmt: skip
    just_made = Match(id="0002-cd", study_id="s")
    await store.write([study, someone, nobody, match, just_made, account(role="admin", created_at=7.0)])
    session = ConsoleSession(token_hash=_HASH, account="ada", created_at=8.0, expires_at=9.0, address="::1")
    await store.write([session, Decision(study_id="s", at=6.0, line={"why": "alone"})])
    await store.write([AuditLine(at=7.0, by="ada", action="pair", target="m", facts={"participants": ["p-1"]})])
    assert await store.studies() == (study,)
    assert await store.participants("s") == (someone, nobody)
    assert await store.matches("s") == (match, just_made)
    assert await store.matches("s", running_only=True) == (just_made,)
    assert await store.decisions("s") == (Decision(study_id="s", at=6.0, line={"why": "alone"}, number=1),)
    audited = AuditLine(at=7.0, by="ada", action="pair", target="m", facts={"participants": ["p-1"]}, number=1)
    assert await store.audit() == (audited,)
    assert await store.account("ada") == account(role="admin", created_at=7.0)
    assert await store.session(_HASH, now=8.5) == session


async def check_a_record_replaces_the_one_of_its_key_in_place(store: Store) -> None:
    """The newest whole record counts, and the order stays that of the first writing."""
    await store.write([Participant(id="b", study_id="s", label="x"), Participant(id="a", study_id="s")])
    await store.write([Participant(id="b", study_id="s", state="playing")])
    expected = (Participant(id="b", study_id="s", state="playing"), Participant(id="a", study_id="s"))
    assert await store.participants("s") == expected


async def check_ended_matches_are_read_from_the_newest_on(store: Store) -> None:
    """A few at a time, each part going on before the last one; without other studies and matches that run."""
    matches = [Match(id=f"m{number}", study_id="s", state="ended", reason="complete") for number in range(5)]
    runs = Match(id="runs", study_id="s", state="playing")
    other = Match(id="other", study_id="t", state="ended", reason="left")
    await store.write([*matches[:2], runs, other, *matches[2:]])
    await store.write([replace(matches[1], reason="left")])  # where it was, although it was written anew
    assert [each.id for each in await store.ended_matches("s", limit=2)] == ["m4", "m3"]
    assert [each.id for each in await store.ended_matches("s", before="m3", limit=2)] == ["m2", "m1"]
    assert [each.id for each in await store.ended_matches("s", before="m1")] == ["m0"]
    assert await store.ended_matches("s", before="nobody") == ()
    assert await store.ended_counts("s") == {"complete": 4, "left": 1}
    assert await store.ended_counts("nobody") == {}


async def check_studies_are_apart(store: Store) -> None:
    """What belongs to one study is not seen in another."""
    await store.write([Participant(id="a", study_id="s"), Match(id="m", study_id="s"), Count(study_id="s", name="n")])
    await store.write([Decision(study_id="s", at=1.0), Decision(study_id="other", at=2.0)])
    assert (await store.participants("other"), await store.matches("other"), await store.counters("other")) == (
        (), (), {},
    )  # fmt: skip
    assert [line.at for line in await store.decisions("other")] == [2.0]


async def check_a_refused_batch_leaves_no_trace(store: Store) -> None:
    """All of a batch or nothing, wherever in it the refusal is; those before and after are kept."""
    await store.write(
        [account(), Participant(id="p", study_id="s", label="before"), LinkUse(link_id="l", participant_id="p")]
    )
    await store.write([ConsoleSession(token_hash=_HASH, account="ada", expires_at=9.0), Count(study_id="s", name="n")])
    batch: list[Record] = [
        Participant(id="p", study_id="s", label="after"),
        Participant(id="p", study_id="s", label="long after"),
        Participant(id="q", study_id="s"),
        Decision(study_id="s", at=1.0),
        AuditLine(at=1.0, by="ada", action="x"),
        Count(study_id="s", name="n"),
        Count(study_id="s", name="other"),
        AccountRemoved(name="ada"),
        LinkUse(link_id="l", participant_id="q"),
        Study(id="s"),
    ]
    assert await refused(store, batch) == "link-used"
    assert [(each.id, each.label) for each in await store.participants("s")] == [("p", "before")]
    assert (await store.decisions("s"), await store.audit(), await store.studies()) == ((), (), ())
    assert await store.counters("s") == {"n": 1}
    assert await store.account("ada") == account()
    assert await store.session(_HASH, now=0.0) is not None
    assert await refused(store, batch[:-2]) == ""
    assert await store.counters("s") == {"n": 2, "other": 1}


async def check_counters_stop_at_their_cap(store: Store) -> None:
    """However many ask at once, a counter never leaves 0 to its cap; what is given back can be had again."""
    one = [Count(study_id="s", name="A", cap=5)]
    codes = await asyncio.gather(*(refused(store, one) for _ in range(12)))
    assert sorted(codes) == [""] * 5 + ["counter-limit"] * 7
    assert await store.counters("s") == {"A": 5}
    assert await refused(store, [Count(study_id="s", name="A", by=-2)]) == ""
    assert await refused(store, [Count(study_id="s", name="A", by=3, cap=5)]) == "counter-limit"
    assert await refused(store, [Count(study_id="s", name="A", by=2, cap=5)]) == ""
    assert await refused(store, [Count(study_id="s", name="A", by=-6)]) == "counter-limit"
    assert await refused(store, [Count(study_id="s", name="B", by=-1)]) == "counter-limit"
    assert await refused(store, [Count(study_id="s", name="B", by=2, cap=1)]) == "counter-limit"
    assert await store.counters("s") == {"A": 5}


async def check_a_link_for_one_use_has_one_user(store: Store) -> None:
    """Of several who ask at once, the first has it, and may use it again."""
    uses = [LinkUse(link_id="l", participant_id=f"p-{number}") for number in range(4)]
    assert await asyncio.gather(*(refused(store, [use]) for use in uses)) == ["", *["link-used"] * 3]
    assert await refused(store, uses[:1]) == ""
    assert await store.used_links() == {"l": "p-0"}


async def check_lines_are_numbered_in_the_order_of_writing(store: Store) -> None:
    """Whatever was written at once, and with pages of any size."""
    writes = (
        store.write([Decision(study_id="s", at=float(at)), Decision(study_id="s", at=at + 0.5)]) for at in range(20)
    )
    await asyncio.gather(*writes)
    assert [line.at for line in await store.decisions("s")] == [number / 2 for number in range(40)]
    assert [line.number for line in await store.decisions("s")] == list(range(1, 41))
    assert [line.number for line in await store.decisions("s", after=37, limit=2)] == [38, 39]
    assert await store.decisions("s", limit=0) == ()
    await store.write([AuditLine(at=float(at), by="ada", action="x") for at in range(5)])
    assert [line.number for line in await store.audit(limit=2)] == [4, 5]
    assert [line.number for line in await store.audit(before=4, limit=2)] == [2, 3]
    assert await store.audit(limit=0) == ()


async def check_reading_sees_what_was_handed_over_before(store: Store) -> None:
    """Also while the write is still on its way."""
    writing = asyncio.ensure_future(store.write([Participant(id="p", study_id="s")]))
    await asyncio.sleep(0)  # handed over
    assert len(await store.participants("s")) == 1
    await writing


async def check_writes_return_in_the_order_of_their_calls(store: Store) -> None:
    """Refused ones, too."""
    returned: list[int] = []

    async def write(number: int) -> None:
        await refused(store, [Count(study_id="s", name="n", cap=3)])
        returned.append(number)

    await asyncio.gather(*(write(number) for number in range(30)))
    assert returned == list(range(30))


async def check_flush_waits_for_what_is_on_its_way(store: Store) -> None:
    """After it, whatever was handed over before has been answered."""
    writes = [asyncio.ensure_future(store.write([Count(study_id="s", name="n")])) for _ in range(10)]
    await asyncio.sleep(0)  # handed over
    await store.flush()
    await asyncio.sleep(0)
    assert [write.done() for write in writes] == [True] * 10
    assert await store.counters("s") == {"n": 10}


async def check_a_cancelled_write_disturbs_nobody(store: Store) -> None:
    """It may have been kept or not; those around it are."""
    writes = [asyncio.ensure_future(store.write([Participant(id=f"p-{n}", study_id="s")])) for n in range(9)]
    await asyncio.sleep(0)
    writes[4].cancel()
    await asyncio.gather(*writes, return_exceptions=True)
    kept = {each.id for each in await store.participants("s")}
    assert kept >= {f"p-{n}" for n in range(9)} - {"p-4"}


async def check_sessions_end(store: Store) -> None:
    """By time, one by one, for an account, and with it; there is none without one."""
    session = ConsoleSession(token_hash=_HASH, account="ada", expires_at=10.0)
    assert await refused(store, [session]) == "no-account"
    await store.write([account("ada"), account("bob"), session])
    await store.write([ConsoleSession(token_hash=_OTHER_HASH, account="ada", expires_at=20.0)])
    await store.write([ConsoleSession(token_hash=_THIRD_HASH, account="bob", expires_at=20.0)])
    assert await store.session(_HASH, now=9.9) == session
    assert await store.session(_HASH, now=10.0) is None
    await store.write([account("ada", role="admin")])  # another role leaves the sessions alone
    assert await store.session(_HASH, now=9.9) == session
    await store.write([SessionsEnded(before=10.0)])
    assert await store.session(_HASH, now=0.0) is None
    await store.write([SessionsEnded(before=1e12, account="ada")])
    assert await store.session(_OTHER_HASH, now=0.0) is None
    assert await store.session(_THIRD_HASH, now=0.0) is not None
    await store.write([AccountRemoved(name="bob"), AccountRemoved(name="bob")])
    assert await store.session(_THIRD_HASH, now=0.0) is None
    assert [each.name for each in await store.accounts()] == ["ada"]
    await store.write([ConsoleSession(token_hash=_HASH, account="ada", expires_at=10.0)])
    await store.write([SessionEnded(token_hash=_HASH), SessionEnded(token_hash=_HASH)])
    assert await store.session(_HASH, now=0.0) is None


async def check_what_is_no_record_is_turned_down_before_anything_is_kept(store: Store) -> None:
    """A secret where a hash belongs, half a character, a number that is none, too much of it."""
    good = Study(id="s")
    wrong: list[Record] = [
        Participant(id="p", study_id="s", token_hash="my-secret-token"),
        Participant(id="../p", study_id="s"),
        Participant(id="p", study_id="s", label="\ud800"),
        Participant(id="p", study_id="s", attributes={"a": object()}),
        Participant(id="p", study_id="s", attributes={"a": "\ud800"}),
        Participant(id="p", study_id="s", changed_at=float("nan")),
        Participant(id="p", study_id="s", label="x" * 1001),
        Match(id="m", study_id="s", seed=1 << 70),
        account(role="root"),
    ]
    for record in wrong:
        assert await misused(store, [good, record]), record
    assert await misused(store, [good, "a record"])  # type: ignore[list-item]
    assert await misused(store, [good] * (MAX_BATCH_RECORDS + 1))
    assert await store.studies() == ()


async def check_nothing_goes_on_after_the_end(store: Store) -> None:
    """Closing twice is harmless; what comes afterwards is refused, and does not hang."""
    await store.write([])
    await store.close()
    await store.close()
    for ask in (store.write([Study(id="s")]), store.studies(), store.flush(), store.account("ada")):
        try:
            await ask
        except StoreError:
            continue
        raise AssertionError("a closed store answered")


CHECKS: tuple[Check, ...] = (
    check_every_field_comes_back,
    check_a_record_replaces_the_one_of_its_key_in_place,
    check_ended_matches_are_read_from_the_newest_on,
    check_studies_are_apart,
    check_a_refused_batch_leaves_no_trace,
    check_counters_stop_at_their_cap,
    check_a_link_for_one_use_has_one_user,
    check_lines_are_numbered_in_the_order_of_writing,
    check_reading_sees_what_was_handed_over_before,
    check_writes_return_in_the_order_of_their_calls,
    check_flush_waits_for_what_is_on_its_way,
    check_a_cancelled_write_disturbs_nobody,
    check_sessions_end,
    check_what_is_no_record_is_turned_down_before_anything_is_kept,
    check_nothing_goes_on_after_the_end,
)


async def run_check(check: Check, make_store: MakeStore) -> None:
    """Run one check on a new store, and close that."""
    store = make_store()
    try:
        async with asyncio.timeout(60.0):  # a hang is a failure with a name, not the end of the whole run
            await check(store)
    finally:
        await store.close()
