//! `grantry-host copy`: moves everything from one store to another, and shows its progress.

use std::{
    io::{IsTerminal as _, Write as _},
    time::Duration,
};

use grantry::{
    copy::{Copy, Progress, Report, Step},
    time::{BootInstant, Clock as _, SystemClock},
};

use crate::{
    cli::CopyArgs,
    problem::{Problem, with_causes},
    serve,
};

/// The width of the bar, in characters.
const WIDTH: u64 = 30;
/// How often progress is logged when the output is not a terminal.
const PACE: Duration = Duration::from_secs(5);
/// How many ids a line names.
const NAMED: usize = 5;

/// Runs beside services on either store, or without any. It needs no keys: sealed data stays sealed.
pub(crate) async fn run(args: CopyArgs) -> Result<(), Problem> {
    let from = serve::open_existing(&args.from).await;
    let from = from.map_err(|problem| format!("{problem} (--from)"))?;
    let to = serve::open_store(&args.to).await;
    let to = to.map_err(|problem| format!("{problem} (--to)"))?;
    let copy = Copy::new(from, to);
    let stop = copy.stop();
    let interrupted = async move {
        serve::ended().await;
        tracing::info!("stopping between two connections");
        stop.now();
        serve::ended().await;
    };
    let mut shown = Shown::new();
    let done = tokio::select! {
        done = copy.run(|progress| shown.show(progress)) => done,
        // Interrupted twice: the same as a kill, which is harmless.
        () = interrupted => return Err("copy_stopped: run it again to go on".into()),
    };
    shown.end();
    let report = done.map_err(|error| format!("{}: {}", error.code(), with_causes(&error)))?;
    print!("{}", summary(&report));
    Ok(())
}

fn summary(report: &Report) -> String {
    let mut lines = vec![format!(
        "copied: {} integrations, {} keys, {} connections; this run moved {}",
        report.integrations, report.keys, report.connections, report.moved
    )];
    if report.outcome_unknown > 0 {
        lines.push(format!(
            "outcome_unknown: {} connections had a refresh without a response, and are not refreshed until that is safe. If a service still runs on the old store, stop it and run this again: late responses are then copied as well.",
            report.outcome_unknown
        ));
    }
    if report.late > 0 {
        lines.push(format!(
            "late: {} token sets that arrived at the old store were copied as well",
            report.late
        ));
    }
    if !report.unreadable.is_empty() {
        let named: Vec<_> = report
            .unreadable
            .iter()
            .take(NAMED)
            .map(ToString::to_string)
            .collect();
        lines.push(format!(
            "connection_corrupt: {} connections cannot be read and stay behind: {}",
            report.unreadable.len(),
            named.join(", ")
        ));
    }
    lines.push(
        "The stores agree. Start the service on the new one; the old one answers store_moved.".to_owned(),
    );
    lines.join("\n") + "\n"
}

/// A bar on a terminal, lines in a log.
struct Shown {
    bar: bool,
    last: Option<(Step, BootInstant)>,
}

impl Shown {
    fn new() -> Self {
        Self {
            bar: std::io::stderr().is_terminal(),
            last: None,
        }
    }

    fn show(&mut self, progress: Progress) {
        let Progress {
            step,
            done,
            total,
            waiting,
        } = progress;
        let now = SystemClock.boot();
        if self.bar {
            self.last = Some((step, now));
            // Output that cannot be written is no reason to stop.
            let _ = write!(std::io::stderr(), "\r\x1b[K{}", bar(progress));
            return;
        }
        if self
            .last
            .is_some_and(|(before, at)| before == step && now - at < PACE)
        {
            return;
        }
        self.last = Some((step, now));
        tracing::info!(step = %step, done, total, waiting, "copying");
    }

    /// Leaves the bar as it is and starts a new line.
    fn end(&self) {
        if self.bar && self.last.is_some() {
            eprintln!();
        }
    }
}

fn bar(progress: Progress) -> String {
    let Progress {
        step,
        done,
        total,
        waiting,
    } = progress;
    let full = (done * WIDTH).checked_div(total).unwrap_or(WIDTH).min(WIDTH);
    let filled = |n: u64, c: &str| c.repeat(usize::try_from(n).unwrap_or_default());
    let waiting = match waiting {
        0 => String::new(),
        n => format!(", waiting for {n} refreshes"),
    };
    format!(
        "[{}{}] {done} of {total} connections, {step}{waiting}",
        filled(full, "#"),
        filled(WIDTH - full, "-"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills() {
        let at = |done, total, waiting| {
            bar(Progress {
                step: Step::Connections,
                done,
                total,
                waiting,
            })
        };
        assert_eq!(
            at(5, 10, 0),
            "[###############---------------] 5 of 10 connections, connections"
        );
        assert_eq!(
            at(0, 3, 2),
            format!(
                "[{}] 0 of 3 connections, connections, waiting for 2 refreshes",
                "-".repeat(30)
            )
        );
        assert!(at(0, 0, 0).starts_with(&format!("[{}]", "#".repeat(30))));
    }
}
