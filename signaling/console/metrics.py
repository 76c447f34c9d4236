"""The room as figures for Prometheus: ``/metrics``. No names of people, and no series that grow with the matches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from p2pclient.common.room_messages import Health
from signaling.alerts import Alert
from signaling.rows import MATCH_STATES, PARTICIPANT_STATES, RoomRow

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Collector:
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = tuple(metrics)

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def render_metrics(row: RoomRow, alerts: tuple[Alert, ...], *, consoles: int, lag_s: float) -> bytes:
    """Return the text that Prometheus reads."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector([*_of_room(row, alerts), *_of_matches(row), *_of_server(row, consoles, lag_s)]))
    return generate_latest(registry)


def _of_room(row: RoomRow, alerts: tuple[Alert, ...]) -> Iterator[Metric]:
    participants = GaugeMetricFamily("tandem_participants", "Participants by state.", labels=["state"])
    for state in PARTICIPANT_STATES:
        participants.add_metric([state], sum(each.state == state for each in row.participants))
    yield participants
    matches = GaugeMetricFamily("tandem_matches", "Matches that are shown, by state.", labels=["state"])
    for state in MATCH_STATES:
        matches.add_metric([state], sum(each.state == state for each in row.matches))
    yield matches
    made = CounterMetricFamily("tandem_matches_made", "Matches begun since the server started.")
    made.add_metric([], row.counts.get("matches_made", 0))
    yield made
    if row.median_wait_s is not None:
        yield _gauge("tandem_wait_seconds_median", "Median wait of those matched so far.", row.median_wait_s)
    raised = GaugeMetricFamily("tandem_alerts", "Alerts that hold now.", labels=["severity"])
    for severity in ("warning", "problem"):
        raised.add_metric([severity], sum(each.severity == severity for each in alerts))
    yield raised


def _of_matches(row: RoomRow) -> Iterator[Metric]:
    """The worst of all running matches: enough to raise an alarm; which one it is, the console shows."""
    healths = [health for match in row.matches if match.state != "ended" for health in _healths(match.seats)]
    peers = [peer for health in healths for peer in health.peers]
    rtts = [peer.rtt_ms for peer in peers if peer.rtt_ms is not None]
    losses = [peer.loss for peer in peers if peer.loss is not None]
    yield _gauge("tandem_rtt_seconds_max", "Longest round trip between players now.", max(rtts, default=0.0) / 1000)
    yield _gauge(
        "tandem_loss_ratio_max", "Largest share of datagrams lost between players now.", max(losses, default=0)
    )
    depth = max((health.rollback_depth for health in healths), default=0)
    yield _gauge("tandem_rollback_depth_frames_max", "Deepest rollback of the last second.", depth)
    yield _gauge(
        "tandem_desynced_seats", "Seats of running matches that saw a desync.", sum(h.desyncs > 0 for h in healths)
    )


def _of_server(row: RoomRow, consoles: int, lag_s: float) -> Iterator[Metric]:
    info = GaugeMetricFamily("tandem_server_info", "Always 1; the version is the label.", labels=["version"])
    info.add_metric([row.server_version], 1)
    yield info
    yield _gauge("tandem_consoles", "Consoles that are open.", consoles)
    yield _gauge("tandem_loop_lag_seconds", "How late the server's loop came back last.", lag_s)


def _healths(seats: Iterable[object]) -> Iterator[Health]:
    for seat in seats:
        health = getattr(seat, "health", None)
        if health is not None and getattr(seat, "present", False):
            yield health


def _gauge(name: str, description: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, description, value=value)
