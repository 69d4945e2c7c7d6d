//! States as 24 to 40 bytes, exactly: nothing is hashed away. Processes are alike, so their order does not count.

use std::collections::BTreeSet;

use crate::{
    bits::{Bits, Code},
    faults::{Fault, Faults},
    process::{Back, Hand, Known, Process, Request},
    row::{Age, Row},
    runs::Run,
    scenarios,
    state::{MOST, Older, Pending, State, Store, Stray, Version},
    upstream::{Family, Mode, Token},
    work::Number,
    world::World,
};

/// What the states of a run hold: only what can be in them takes room.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Processes, and places for what goes on behind them.
    slots: usize,
    store: Store,
    late_writes: bool,
    memory: bool,
    faults: Vec<Fault>,
}

impl Layout {
    pub fn of(run: &Run) -> Self {
        let faults = run.scenario.faults.iter().map(|(fault, _)| *fault);
        let store = run.scenario.store;
        Self {
            slots: run.processes + run.keepers(),
            store,
            late_writes: faults.clone().any(|f| f == Fault::LateWrite),
            memory: store.is_backed_up(),
            faults: faults.collect(),
        }
    }

    /// How many words of eight bytes a state takes.
    pub fn words(&self) -> u32 {
        let mut bits = Bits::<8> { words: [0; 8], at: 0 };
        self.write(&State::start(0, self.store, Faults::default()), &mut bits);
        bits.at.div_ceil(64)
    }

    fn process(&self, process: &Process) -> Code {
        let mut code = Code::default();
        code.put(process.work.0, Number::BITS);
        code.flag(process.my_lease);
        code.flag(process.my_set);
        code.flag(process.stale);
        code.put(process.request as u8, 2);
        code.put(process.spent.code(), Token::BITS);
        code.token(process.set);
        code.put(process.pauses, 3);
        let kept = process.kept.unwrap_or_default();
        code.flag(process.kept.is_some());
        code.flag(kept.stale);
        if self.late_writes {
            code.flag(process.wrote);
        }
        if self.store != Store::Safe {
            code.flag(process.keeper);
            code.flag(process.back.lease);
            code.flag(process.back.set);
            code.flag(process.back.stale);
            code.flag(kept.back);
        }
        if self.memory {
            let Version { epoch, generation } = process.memory.map(|m| m.version).unwrap_or_default();
            code.put(epoch, 2);
            code.put(generation, 3);
            code.token(process.memory.map(|m| m.token));
        }
        code
    }

    fn take_process<const N: usize>(&self, bits: &mut Bits<N>) -> Process {
        let mut process = Process {
            work: Number(u16::try_from(bits.take(Number::BITS)).unwrap()),
            my_lease: bits.flag(),
            my_set: bits.flag(),
            stale: bits.flag(),
            request: Request::ALL[usize::from(bits.byte(2))],
            spent: Token::of(bits.byte(Token::BITS)),
            set: bits.token(),
            pauses: bits.byte(3),
            ..Process::ABSENT
        };
        let (is_kept, stale) = (bits.flag(), bits.flag());
        process.kept = is_kept.then_some(Hand { stale, back: false });
        if self.late_writes {
            process.wrote = bits.flag();
        }
        if self.store != Store::Safe {
            process.keeper = bits.flag();
            let (lease, set, stale) = (bits.flag(), bits.flag(), bits.flag());
            process.back = Back { lease, set, stale };
            let back = bits.flag();
            process.kept = process.kept.map(|kept| Hand { back, ..kept });
        }
        if self.memory {
            let (epoch, generation) = (bits.byte(2), bits.byte(3));
            let version = Version { epoch, generation };
            process.memory = bits.token().map(|token| Known { version, token });
        }
        process
    }

    pub fn pack<const N: usize>(&self, state: State) -> [u64; N] {
        let mut bits = Bits { words: [0; N], at: 0 };
        self.write(&state, &mut bits);
        bits.words
    }

    fn write<const N: usize>(&self, state: &State, bits: &mut Bits<N>) {
        // Processes are alike, and so are strays.
        let mut codes = [Code::default(); MOST];
        for (code, process) in codes[..self.slots].iter_mut().zip(&state.processes) {
            *code = self.process(process);
        }
        codes[..self.slots].sort_unstable_by_key(|code| code.value);
        for code in &codes[..self.slots] {
            bits.put(*code);
        }
        let mut code = Code::default();
        code.row(&state.row);
        code.age(state.age, state.ended);
        code.flag(state.leaked);
        for family in &state.families {
            code.put(family.living, 3);
            code.flag(family.revoked);
            code.flag(family.grace);
        }
        bits.put(code);
        let mut code = Code::default();
        let mut strays = state.strays;
        strays.sort_unstable();
        for stray in strays {
            code.put(stray.map_or(0, |s| 1 + u8::from(s.processing)), 2);
            code.put(stray.map_or(0, |s| s.token.code()), Token::BITS);
        }
        for (effective, all) in state.presented {
            code.put(effective, 3);
            code.put(all, 3);
        }
        for &fault in &self.faults {
            code.put(state.left.left(fault), Faults::BITS);
        }
        bits.put(code);
        let mut code = Code::default();
        if self.store != Store::Safe {
            code.flag(state.older.is_some());
            let older = state.older.unwrap_or(Older {
                row: Row::FIRST,
                age: Age::Living,
                ended: false,
            });
            code.row(&older.row);
            code.age(older.age, older.ended);
        }
        if self.late_writes {
            code.flag(state.pending.is_some());
            let pending = state.pending.unwrap_or(Pending {
                row: Row::FIRST,
                age: Age::Living,
                marks: (false, false),
            });
            code.row(&pending.row);
            code.age(pending.age, false);
            code.flag(pending.marks.0);
            code.flag(pending.marks.1);
        }
        bits.put(code);
    }

    pub fn unpack<const N: usize>(&self, words: [u64; N]) -> State {
        let bits = &mut Bits { words, at: 0 };
        let mut state = State::start(0, self.store, Faults::default());
        for process in &mut state.processes[..self.slots] {
            *process = self.take_process(bits);
        }
        state.row = bits.row();
        (state.age, state.ended) = bits.age();
        state.leaked = bits.flag();
        for family in &mut state.families {
            *family = Family {
                living: bits.byte(3),
                revoked: bits.flag(),
                grace: bits.flag(),
            };
        }
        for stray in &mut state.strays {
            let phase = bits.take(2);
            let token = Token::of(bits.byte(Token::BITS));
            let processing = phase == 2;
            *stray = (phase > 0).then_some(Stray { token, processing });
        }
        for counts in &mut state.presented {
            *counts = (bits.byte(3), bits.byte(3));
        }
        for &fault in &self.faults {
            state.left.set(fault, bits.byte(Faults::BITS));
        }
        if self.store != Store::Safe {
            let is_there = bits.flag();
            let row = bits.row();
            let (age, ended) = bits.age();
            state.older = is_there.then_some(Older { row, age, ended });
        }
        if self.late_writes {
            let is_there = bits.flag();
            let row = bits.row();
            let (age, _) = bits.age();
            let marks = (bits.flag(), bits.flag());
            state.pending = is_there.then_some(Pending { row, age, marks });
        }
        state
    }
}

fn sorted(state: State) -> (Vec<String>, State) {
    let mut processes: Vec<_> = state.processes.iter().map(|p| format!("{p:?}")).collect();
    processes.sort();
    let mut rest = State {
        processes: [Process::ABSENT; MOST],
        ..state
    };
    rest.strays.sort_unstable();
    (processes, rest)
}

#[test]
fn packing_keeps_everything_but_names() {
    let all = [
        (scenarios::SITS_WITHOUT_STORE, 3),
        (scenarios::LATE_WRITES, 2),
        (scenarios::TAKEN_OVER, 2),
        (scenarios::ROLLED_BACK, 2),
    ];
    for (scenario, processes) in all {
        let run = Run {
            processes,
            split: processes < 3,
            ..Run::of(scenario, Mode::Revoke)
        };
        let (mut world, layout) = (World::new(&run), Layout::of(&run));
        let mut seen = BTreeSet::new();
        let mut queue = vec![run.start()];
        while let Some(state) = queue.pop().filter(|_| seen.len() < 20_000) {
            let packed = layout.pack::<5>(state);
            let unpacked = layout.unpack(packed);
            assert_eq!(layout.pack(unpacked), packed);
            assert_eq!(sorted(unpacked), sorted(state));
            if seen.insert(packed) {
                world.successors(&state, &mut queue);
            }
        }
        assert!(seen.len() > 500, "{}: {}", scenario.name, seen.len());
    }
}
