//! What happens to one request on its way to the provider, and to its answer.

use std::time::Duration;

use crate::{
    dice::Dice,
    sim::{Air, Fate},
    trace::Who,
    wire::{LATEST, Wire},
};

/// What happens to one request.
#[derive(Clone, Copy, Debug)]
pub struct Trip {
    pub fate: Fate,
    /// Before it leaves the process.
    pub leaves: Duration,
    pub there: Duration,
    pub back: Duration,
    /// If no answer comes: after so long the connection breaks; `None` is never.
    pub breaks: Option<Duration>,
}

impl Wire {
    pub fn trip(&self, path: &str) -> Trip {
        let mut state = self.sim.state();
        let air = state.wire;
        let scripted = if path == "/refresh" {
            state.script.pop_front()
        } else {
            None
        };
        let dice = &mut state.dice;
        let mut trip = Trip {
            fate: Fate::Right,
            leaves: dice.span(0, 3),
            there: dice.span(1, 40),
            back: dice.span(1, 40),
            breaks: None,
        };
        trip.fate = match (scripted, air) {
            (Some(fate), _) => fate,
            (None, Air::Calm) => Fate::Right,
            (None, Air::Rough) => rough(dice),
            (None, Air::Down) => {
                if dice.percent(50) {
                    Fate::NotSent
                } else {
                    Fate::RequestLost
                }
            }
        };
        if air == Air::Rough {
            if dice.percent(15) {
                trip.leaves = dice.span(0, 7000);
            }
            trip.breaks = dice.percent(60).then(|| dice.span(0, 19_000));
        }
        match trip.fate {
            Fate::Late(wait) => trip.there = wait,
            Fate::Leaves(wait) => trip.leaves = wait,
            Fate::Slow(wait) => trip.back = wait,
            _ => {}
        }
        if let Some(snare) = state.spring(self.process, false) {
            // Between the gate and the send.
            state.seize(self.process, snare);
            trip.leaves = trip.leaves.max(Duration::from_millis(1));
        }
        if trip.fate != Fate::Right {
            state.fault(Who::Process(self.process), "wire", name(trip.fate));
        }
        trip
    }
}

/// What happens to a request on a bad day.
pub fn rough(dice: &mut Dice) -> Fate {
    match dice.below(100) {
        0..8 => Fate::NotSent,
        8..20 => Fate::RequestLost,
        20..34 => Fate::AnswerLost,
        34..42 => Fate::Late(dice.span(1000, LATEST)),
        42..48 => Fate::Slow(dice.span(1000, 25_000)),
        48..53 => Fate::Garbage,
        53..58 => Fate::GarbageUnprocessed,
        58..66 => Fate::MayPass(dice.pick(&[0, 30, 7200])),
        66..70 => Fate::InProgress,
        70..75 => Fate::Leaves(dice.span(0, 19_000)),
        _ => Fate::Right,
    }
}

fn name(fate: Fate) -> &'static str {
    match fate {
        Fate::Right => "right",
        Fate::NotSent => "not sent",
        Fate::RequestLost => "request lost",
        Fate::AnswerLost => "answer lost",
        Fate::Late(_) => "processed late",
        Fate::Leaves(_) => "leaves late",
        Fate::Slow(_) => "answered late",
        Fate::Garbage => "5xx after the commit",
        Fate::GarbageUnprocessed => "5xx",
        Fate::MayPass(_) => "refused for now",
        Fate::InProgress => "in progress",
    }
}
