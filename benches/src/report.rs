//! The table.

use std::fmt::Write as _;

use crate::measure::Samples;

/// What a ratio must be.
#[derive(Clone, Copy, Debug)]
pub enum Must {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
    /// There is no goal; the row is there to be compared.
    Nothing,
}

/// A row of the table.
#[derive(Clone, Debug)]
pub struct Row {
    id: &'static str,
    path: String,
    ours: String,
    other: String,
    ratio: f64,
    must: Must,
    unit: &'static str,
}

impl Row {
    /// Times: ours over the other's.
    pub fn times(
        id: &'static str,
        path: impl Into<String>,
        ours: &Samples,
        other: &Samples,
        must: Must,
    ) -> Self {
        Self {
            id,
            path: path.into(),
            ours: time(ours.median()),
            other: format!("{} {}", other.name, time(other.median())),
            ratio: ours.over(other),
            must,
            unit: "×",
        }
    }

    /// Rates: ours over the other's, so more is better.
    pub fn rates(
        id: &'static str,
        path: impl Into<String>,
        ours: &Samples,
        other: &Samples,
        must: Must,
    ) -> Self {
        let rate = |samples: &Samples| format!("{:.0}/s", 1e9 / samples.median());
        Self {
            id,
            path: path.into(),
            ours: rate(ours),
            other: format!("{} {}", other.name, rate(other)),
            ratio: other.over(ours),
            must,
            unit: "×",
        }
    }

    /// A figure that stands for itself.
    pub fn figure(
        id: &'static str,
        path: impl Into<String>,
        figure: f64,
        unit: &'static str,
        other: impl Into<String>,
        must: Must,
    ) -> Self {
        Self {
            id,
            path: path.into(),
            ours: format!("{figure:.*} {unit}", usize::from(figure.fract() != 0.0) * 2),
            other: other.into(),
            ratio: figure,
            must,
            unit,
        }
    }

    /// Whether the goal is reached.
    pub fn holds(&self) -> bool {
        match self.must {
            Must::AtMost(goal) => self.ratio <= goal,
            Must::AtLeast(goal) => self.ratio >= goal,
            Must::Nothing => true,
        }
    }

    fn cells(&self) -> [String; 7] {
        let unit = self.unit;
        let is_ratio = unit == "×";
        [
            self.id.to_owned(),
            self.path.clone(),
            self.ours.clone(),
            self.other.clone(),
            if is_ratio {
                format!("{:.2} ×", self.ratio)
            } else {
                String::new()
            },
            match self.must {
                Must::AtMost(goal) => format!("≤ {goal} {unit}"),
                Must::AtLeast(goal) => format!("≥ {goal} {unit}"),
                Must::Nothing => String::new(),
            },
            match self.must {
                Must::Nothing => String::new(),
                _ if self.holds() => "yes".to_owned(),
                _ => "NO".to_owned(),
            },
        ]
    }
}

/// The whole table, its columns lined up.
pub fn table(rows: &[Row]) -> String {
    let head = ["id", "path", "ours", "against", "ratio", "must", "holds"].map(str::to_owned);
    let lines: Vec<[String; 7]> = std::iter::once(head).chain(rows.iter().map(Row::cells)).collect();
    let widths: [usize; 7] = std::array::from_fn(|i| {
        lines
            .iter()
            .map(|line| line[i].chars().count())
            .max()
            .unwrap_or(0)
    });
    let mut out = String::new();
    for (n, line) in lines.iter().enumerate() {
        for (cell, &width) in line.iter().zip(&widths) {
            let _ = write!(out, "| {cell:width$} ");
        }
        out.push_str("|\n");
        if n == 0 {
            for width in widths {
                let _ = write!(out, "|{}", "-".repeat(width + 2));
            }
            out.push_str("|\n");
        }
    }
    out
}

/// The machine and the compiler, in one line.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| {
            line.strip_prefix("model name")?
                .split_once(": ")
                .map(|(_, name)| name.to_owned())
        })
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let rustc = std::process::Command::new("rustc")
        .arg("-V")
        .output()
        .map_or_else(
            |_| "rustc unknown".to_owned(),
            |out| String::from_utf8_lossy(&out.stdout).trim().to_owned(),
        );
    let date =
        std::env::var("GRANTRY_BENCH_DATE").map_or_else(|_| String::new(), |date| format!(" · {date}"));
    format!(
        "{cpu} · {cores} cores · {} {} · {rustc} · load {}{date}",
        std::env::consts::OS,
        kernel.trim(),
        load.split(' ').next().unwrap_or("unknown"),
    )
}

fn time(nanos: f64) -> String {
    match nanos {
        n if n < 1e3 => format!("{n:.1} ns"),
        n if n < 1e6 => format!("{:.2} µs", n / 1e3),
        n => format!("{:.2} ms", n / 1e6),
    }
}
