//! Everything that happened in a run, and its hash.

use std::fmt;

/// Who did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    World,
    Provider,
    Process(usize),
}

/// One event.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    at: u64,
    who: Who,
    what: &'static str,
    about: &'static str,
    numbers: [u64; 3],
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>12}.{:03} ", self.at / 1000, self.at % 1000)?;
        match self.who {
            Who::World => write!(f, "world   ")?,
            Who::Provider => write!(f, "provider")?,
            Who::Process(p) => write!(f, "proc {p}  ")?,
        }
        write!(f, " {:<22} {:<28} {:?}", self.what, self.about, self.numbers)
    }
}

/// Events in order.
#[derive(Debug)]
pub struct Trace {
    lines: Vec<Line>,
    hash: u64,
    aloud: bool,
}

impl Trace {
    /// `aloud` prints every event as it happens.
    pub fn new(aloud: bool) -> Self {
        Self {
            lines: Vec::new(),
            hash: 0xcbf2_9ce4_8422_2325,
            aloud,
        }
    }

    pub fn say(&mut self, at: u64, who: Who, what: &'static str, about: &'static str, numbers: [u64; 3]) {
        let line = Line {
            at,
            who,
            what,
            about,
            numbers,
        };
        if self.aloud {
            println!("{line}");
        }
        let who = match who {
            Who::World => 100,
            Who::Provider => 101,
            Who::Process(p) => u64::try_from(p).unwrap(),
        };
        for number in [at, who].iter().chain(&numbers) {
            self.mix(*number);
        }
        for text in [what, about] {
            text.bytes().for_each(|byte| self.mix(byte.into()));
        }
        self.lines.push(line);
    }

    fn mix(&mut self, number: u64) {
        self.hash = (self.hash ^ number)
            .wrapping_mul(0x0000_0100_0000_01b3)
            .rotate_left(23);
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The last events, as text.
    pub fn tail(&self, lines: usize) -> String {
        let from = self.lines.len().saturating_sub(lines);
        let lines: Vec<_> = self.lines[from..].iter().map(ToString::to_string).collect();
        lines.join("\n") + "\n"
    }
}
