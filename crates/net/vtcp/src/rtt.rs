use std::time::Duration;

/// Time-out before the first measurement.
const FIRST_TIMEOUT: Duration = Duration::from_millis(500);
/// Peers delay acknowledgements by 40 ms, so nothing is late before that.
const TIMEOUT_MIN: Duration = Duration::from_millis(200);
const TIMEOUT_MAX: Duration = Duration::from_secs(10);
/// How long a peer may delay an acknowledgement.
const ACK_DELAY_MAX: Duration = Duration::from_millis(50);

/// Round-trip time, smoothed as in RFC 6298.
#[derive(Debug, Default)]
pub(crate) struct Rtt {
    smoothed: Option<Duration>,
    variation: Duration,
    latest: Duration,
}

impl Rtt {
    pub(crate) fn sample(&mut self, rtt: Duration) {
        self.latest = rtt;
        match self.smoothed {
            None => {
                self.smoothed = Some(rtt);
                self.variation = rtt / 2;
            }
            Some(smoothed) => {
                self.variation = (self.variation * 3 + smoothed.abs_diff(rtt)) / 4;
                self.smoothed = Some((smoothed * 7 + rtt) / 8);
            }
        }
    }

    /// When an unanswered segment counts as lost.
    pub(crate) fn retransmit_after(&self, backoff: u32) -> Duration {
        let base = self.smoothed.map_or(FIRST_TIMEOUT, |smoothed| smoothed + self.variation * 4);
        (base.max(TIMEOUT_MIN) * (1 << backoff.min(6))).min(TIMEOUT_MAX)
    }

    /// When the last segment is sent once more to learn whether the tail was lost; before [`Self::retransmit_after`].
    pub(crate) fn probe_after(&self) -> Duration {
        self.smoothed.map_or(FIRST_TIMEOUT, |smoothed| smoothed * 2 + ACK_DELAY_MAX).min(self.retransmit_after(0))
    }

    /// How much later than its successors a segment may arrive before it counts as lost.
    pub(crate) fn reordering_window(&self) -> Duration {
        let rtt = self.smoothed.unwrap_or(FIRST_TIMEOUT).max(self.latest);
        (rtt * 9 / 8).max(Duration::from_millis(1))
    }
}
