//! States as 24 bytes, exactly: nothing is hashed away. Processes are alike, so their order does not count.

use std::collections::BTreeSet;

use grantry::connection::Status;

use crate::{
    faults::Faults,
    row::{Age, Phase, Row},
    runs::Run,
    scenarios,
    state::{MOST, Name, Process, Request, State, Stray},
    upstream::{Family, Mode, Token},
    work::Number,
    world::{Scenario, World},
};

pub type Packed = [u64; 3];

/// Written and read from the lowest bit upwards.
struct Bits {
    words: Packed,
    at: u32,
}

impl Bits {
    fn put(&mut self, value: u32, width: u32) {
        assert!(value >> width == 0, "does not fit in a packed state");
        let (word, shift) = ((self.at / 64) as usize, self.at % 64);
        self.words[word] |= u64::from(value) << shift;
        if shift + width > 64 {
            self.words[word + 1] |= u64::from(value) >> (64 - shift);
        }
        self.at += width;
    }

    fn take(&mut self, width: u32) -> u32 {
        let (word, shift) = ((self.at / 64) as usize, self.at % 64);
        let mut value = self.words[word] >> shift;
        if shift + width > 64 {
            value |= self.words[word + 1] << (64 - shift);
        }
        self.at += width;
        u32::try_from(value & ((1 << width) - 1)).unwrap()
    }

    fn byte(&mut self, width: u32) -> u8 {
        u8::try_from(self.take(width)).unwrap()
    }

    fn flag(&mut self) -> bool {
        self.take(1) == 1
    }
}

const TOKEN: u32 = 4;

fn token_code(token: Token) -> u8 {
    assert!(
        token.family < 2 && token.rotation < 8,
        "does not fit in a packed state"
    );
    token.family | token.rotation << 1
}

fn token_of(code: u8) -> Token {
    Token {
        family: code & 1,
        rotation: code >> 1,
    }
}

const PHASE: u32 = 4;

fn phase_code(phase: Phase) -> u8 {
    match phase {
        Phase::Idle => 0,
        Phase::Turn(attempt) => attempt,
        Phase::Unknown(attempt) => 3 + attempt,
        Phase::Cooling(attempt) => 7 + attempt,
    }
}

fn phase_of(code: u8) -> Phase {
    match code {
        0 => Phase::Idle,
        1..4 => Phase::Turn(code),
        4..7 => Phase::Unknown(code - 3),
        _ => Phase::Cooling(code - 7),
    }
}

const PROCESS: u32 = Number::BITS + 1 + 1 + 1 + 2 + TOKEN + 1 + TOKEN + 2;

fn process_code(process: &Process) -> u32 {
    let mut code = u32::from(process.work.0);
    code = code << 1 | u32::from(process.my_turn);
    code = code << 1 | u32::from(process.my_set);
    code = code << 1 | u32::from(process.stale);
    code = code << 2 | process.request as u32;
    code = code << TOKEN | u32::from(token_code(process.spent));
    code = code << 1 | u32::from(process.set.is_some());
    code = code << TOKEN | u32::from(process.set.map_or(0, token_code));
    assert!(process.pauses < 4, "does not fit in a packed state");
    code << 2 | u32::from(process.pauses)
}

fn process_of(bits: &mut Bits) -> Process {
    let pauses = bits.byte(2);
    let set = token_of(bits.byte(TOKEN));
    let set = bits.flag().then_some(set);
    let spent = token_of(bits.byte(TOKEN));
    let request = Request::ALL[usize::from(bits.byte(2))];
    let (stale, my_set, my_turn) = (bits.flag(), bits.flag(), bits.flag());
    let work = Number(u16::try_from(bits.take(Number::BITS)).unwrap());
    Process {
        work,
        my_turn,
        my_set,
        stale,
        request,
        spent,
        set,
        pauses,
    }
}

const STATUSES: [Status; 3] = [Status::Connected, Status::Expired, Status::Deleted];
const AGES: [Age; 3] = [Age::Living, Age::Lapsed, Age::Over];

impl State {
    /// One of all states that differ in names only.
    pub fn canonical(mut self) -> Self {
        let mut coded = self.processes.map(|p| (process_code(&p), p));
        coded.sort_unstable_by_key(|(code, _)| *code);
        self.processes = coded.map(|(_, p)| p);
        self.strays.sort_unstable();
        self
    }

    pub fn pack(self) -> Packed {
        let state = self.canonical();
        let mut bits = Bits { words: [0; 3], at: 0 };
        for process in &state.processes {
            bits.put(process_code(process), PROCESS);
        }
        let row = &state.row;
        let place = |statuses: &[Status], s| statuses.iter().position(|x| *x == s).unwrap();
        for (value, width) in [
            (row.name.epoch, 2),
            (row.name.generation, 2),
            (row.token.map_or(0, token_code), 4),
            (row.token.is_some().into(), 1),
            (u8::try_from(place(&STATUSES, row.status)).unwrap(), 2),
            (phase_code(row.refresh), PHASE),
            (state.age as u8, 2),
            (state.ended.into(), 1),
            (state.leaked.into(), 1),
        ] {
            bits.put(value.into(), width);
        }
        for family in &state.families {
            bits.put(family.living.into(), 3);
            bits.put(family.revoked.into(), 1);
        }
        for stray in &state.strays {
            let token = stray.map_or(0, |s| token_code(s.token));
            let phase = stray.map_or(0, |s| 1 + u32::from(s.processing));
            bits.put(token.into(), TOKEN);
            bits.put(phase, 2);
        }
        for (effective, all) in state.presented {
            bits.put(effective.into(), 3);
            bits.put(all.into(), 3);
        }
        bits.put(state.left.0, Faults::BITS);
        bits.words
    }

    pub fn unpack(words: Packed) -> Self {
        let bits = &mut Bits { words, at: 0 };
        let processes = std::array::from_fn::<_, MOST, _>(|_| process_of(bits));
        let (epoch, generation) = (bits.byte(2), bits.byte(2));
        let token = token_of(bits.byte(TOKEN));
        let token = bits.flag().then_some(token);
        let row = Row {
            name: Name { epoch, generation },
            token,
            status: STATUSES[usize::from(bits.byte(2))],
            refresh: phase_of(bits.byte(PHASE)),
        };
        Self {
            row,
            age: AGES[usize::from(bits.byte(2))],
            ended: bits.flag(),
            leaked: bits.flag(),
            processes,
            families: std::array::from_fn(|_| Family {
                living: bits.byte(3),
                revoked: bits.flag(),
            }),
            strays: std::array::from_fn(|_| {
                let token = token_of(bits.byte(TOKEN));
                let phase = bits.take(2);
                let processing = phase == 2;
                (phase > 0).then_some(Stray { token, processing })
            }),
            presented: std::array::from_fn(|_| (bits.byte(3), bits.byte(3))),
            left: Faults(bits.take(Faults::BITS)),
        }
    }
}

#[test]
fn packing_keeps_everything_but_names() {
    use crate::faults::Fault::{AccessEnds, ErrorBefore, Late, Reconnect, RequestLost};
    // With every kind of memory that a process can have: a store error after a second attempt makes it keep all of it.
    let all = Scenario {
        faults: &[
            (RequestLost, 1),
            (Late, 1),
            (ErrorBefore, 1),
            (Reconnect, 1),
            (AccessEnds, 1),
        ],
        ..scenarios::SITS
    };
    let run = Run {
        processes: MOST,
        ..Run::of(all, Mode::Revoke)
    };
    let mut world = World::new(&run);
    let mut seen = BTreeSet::new();
    let mut queue = vec![run.start()];
    while let Some(state) = queue.pop() {
        let packed = state.pack();
        assert_eq!(State::unpack(packed), state.canonical());
        if seen.insert(packed) {
            world.successors(&state, &mut queue);
        }
    }
    assert!(seen.len() > 500, "{}", seen.len());
}
