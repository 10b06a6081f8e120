//! Counters of all parts in the text form that dashboards read (spec 22 §6.1).

use std::fmt;
use std::sync::OnceLock;

use axum::Router;
use axum::extract::Path;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

const QUANTILES: [f64; 15] = [0.0, 0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1.0];

static INSTALLED: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// The metrics of this process. Unix seconds for the first line come from `now`.
#[derive(Clone)]
pub struct Metrics {
    handle: Option<PrometheusHandle>,
    now: fn() -> i64,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Metrics(installed: {})", self.handle.is_some())
    }
}

impl Metrics {
    /// Makes the recorder of this process; a second call gives the same one. Call it before the services start.
    pub fn install(now: fn() -> i64) -> Self {
        let handle = INSTALLED.get_or_init(|| {
            let recorder = PrometheusBuilder::new().set_quantiles(&QUANTILES).ok()?.build_recorder();
            let handle = recorder.handle();
            metrics::set_global_recorder(recorder).ok()?;
            Some(handle)
        });
        Self { handle: handle.clone(), now }
    }

    /// Moves samples of summaries out of their buffers; call it every few seconds.
    pub fn upkeep(&self) {
        if let Some(handle) = &self.handle {
            handle.run_upkeep();
        }
    }

    /// All metrics whose name starts with one of `prefixes` (all when there are none).
    pub fn text(&self, prefixes: &[&str]) -> String {
        let rendered = self.handle.as_ref().map(PrometheusHandle::render).unwrap_or_default();
        compose((self.now)(), &rendered, prefixes)
    }

    /// `/expose`, `/sorted`, `/filtered…`, to be mounted at `/metrics-api/v1`. `stats` tells whether the owner agreed
    /// to share statistics.
    pub fn routes(&self, stats: fn() -> bool) -> Router {
        let all = self.clone();
        let sorted = self.clone();
        let filtered = self.clone();
        let consented = self.clone();
        Router::new()
            .route("/expose", get(move || async move { plain(all.text(&[])) }))
            .route("/sorted", get(move || async move { plain(sorted.text(&[])) }))
            .route(
                "/filtered",
                get(move || async move { plain(if stats() { consented.text(&[]) } else { String::new() }) }),
            )
            .route(
                "/filtered/{prefixes}",
                get(move |Path(prefixes): Path<String>| async move {
                    plain(filtered.text(&prefixes.split(',').filter(|prefix| !prefix.is_empty()).collect::<Vec<_>>()))
                }),
            )
    }
}

fn plain(text: String) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text)
}

/// Sorts the blocks of a rendered snapshot by name, without help lines, one empty line between.
fn compose(now: i64, rendered: &str, prefixes: &[&str]) -> String {
    let mut blocks: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in rendered.lines().filter(|line| !line.is_empty() && !line.starts_with("# HELP")) {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            blocks.push((rest.split(' ').next().unwrap_or_default(), vec![line]));
        } else if let Some((_, lines)) = blocks.last_mut() {
            lines.push(line);
        }
    }
    blocks.retain(|(name, _)| prefixes.is_empty() || prefixes.iter().any(|prefix| name.starts_with(prefix)));
    blocks.sort_unstable_by_key(|(name, _)| *name);
    let mut text = format!("# metrics snapshot (ts={now}) (prometheus exposition format)\n");
    for (_, lines) in blocks {
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_sorted_and_filtered() {
        let rendered = "# HELP b_x words\n# TYPE b_x counter\nb_x{l=\"1\"} 2\nb_x 3\n\n# TYPE a gauge\na 1\n\n";
        assert_eq!(
            compose(7, rendered, &[]),
            "# metrics snapshot (ts=7) (prometheus exposition format)\n# TYPE a gauge\na 1\n\n\
             # TYPE b_x counter\nb_x{l=\"1\"} 2\nb_x 3\n\n"
        );
        assert_eq!(
            compose(7, rendered, &["a", "c"]),
            "# metrics snapshot (ts=7) (prometheus exposition format)\n# TYPE a gauge\na 1\n\n"
        );
    }
}
