/// Bytes that may always be in flight. Real peers send up to 128 KiB without any congestion control, so a smaller
/// floor would only make us slower than them on lossy paths.
const WINDOW_MIN: u64 = 64 << 10;
/// More than any peer's receive window.
const WINDOW_MAX: u64 = 8 << 20;

/// Bytes that may be in flight: slow start, then one segment per round trip; losses take a third away.
#[derive(Debug)]
pub(crate) struct Congestion {
    window: u64,
    slow_start_until: u64,
    segment: u64,
}

impl Congestion {
    pub(crate) const fn new(segment: u64) -> Self {
        Self { window: WINDOW_MIN, slow_start_until: WINDOW_MAX, segment }
    }

    pub(crate) const fn window(&self) -> u64 {
        self.window
    }

    /// `acked` bytes arrived while the window was used up.
    pub(crate) fn on_acked(&mut self, acked: u64) {
        let grow = if self.window < self.slow_start_until { acked } else { self.segment * acked / self.window.max(1) };
        self.window = (self.window + grow).min(WINDOW_MAX);
    }

    /// Once per round trip with losses.
    pub(crate) fn on_loss(&mut self) {
        self.window = (self.window * 7 / 10).max(WINDOW_MIN);
        self.slow_start_until = self.window;
    }

    pub(crate) const fn on_timeout(&mut self) {
        self.window = WINDOW_MIN;
    }
}
