//! Log lines on standard error and in files (spec 22 §9).

mod file;

use std::io::IsTerminal;
use std::path::Path;

use anyhow::Result;
use chrono::Local;
use golem_service::{Clock, SystemClock};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

use crate::env;

/// Starts to log. A second call in one process changes nothing.
pub(crate) fn init(dir: Option<&Path>, debug: bool) -> Result<()> {
    let default = if debug { "debug,hyper=info" } else { "info" };
    let filter = EnvFilter::try_new(env::RUST_LOG.get().as_deref().unwrap_or(default))?;
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let stderr = fmt::layer().with_ansi(colour).event_format(Line).with_writer(std::io::stderr);
    let files = match dir {
        Some(dir) => {
            Some(fmt::layer().with_ansi(false).event_format(Line).with_writer(file::LogFile::open(dir, &kept()?)?))
        }
        None => None,
    };
    let _ = tracing_subscriber::registry().with(filter).with(stderr).with(files).try_init();
    Ok(())
}

fn kept() -> Result<file::Kept> {
    Ok(file::Kept {
        plain: env::LOG_UNCOMPRESSED.parsed()?.unwrap_or(1),
        compressed: env::LOG_COMPRESSED.parsed()?.unwrap_or(10),
        hourly: env::LOG_ROTATE_AGE.get().is_some_and(|age| age == "hour"),
        bytes_max: env::LOG_ROTATE_SIZE.parsed()?,
    })
}

/// `[2026-11-23T05:34:11.083+0000 INFO  module] text field=value`.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> std::fmt::Result {
        let meta = event.metadata();
        let time = SystemClock.now().with_timezone(&Local);
        write!(out, "[{} ", time.format("%Y-%m-%dT%H:%M:%S%.3f%z"))?;
        let colour = match *meta.level() {
            Level::ERROR => "31",
            Level::WARN => "33",
            Level::INFO => "32",
            Level::DEBUG => "34",
            Level::TRACE => "35",
        };
        if out.has_ansi_escapes() {
            write!(out, "\x1b[{colour}m{:<5}\x1b[0m", meta.level())?;
        } else {
            write!(out, "{:<5}", meta.level())?;
        }
        write!(out, " {}] ", meta.target())?;
        ctx.format_fields(out.by_ref(), event)?;
        writeln!(out)
    }
}
