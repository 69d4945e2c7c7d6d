//! What a seed's world is like: its provider, its processes, and which kinds of faults it has. Each seed has only some of
//! them, so that long stretches without the others are explored, too.

use std::time::Duration;

use grantry::{provider::Rotation, testing::Settings};

use crate::dice::Dice;

/// What the provider does with a spent token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Refuses it, and ends the whole grant.
    StrictRevoke,
    /// Refuses it.
    StrictReject,
    /// Says that it is strict, and never rotates.
    StrictStays,
    /// Never rotates, and says so.
    Reusable,
    /// Takes it for a while.
    Grace(u64),
}

impl Mode {
    pub fn rotation(self) -> Rotation {
        match self {
            Self::StrictRevoke | Self::StrictReject | Self::StrictStays => Rotation::Strict,
            Self::Reusable => Rotation::Reusable,
            Self::Grace(seconds) => Rotation::Grace(Duration::from_secs(seconds)),
        }
    }

    pub fn rotates(self) -> bool {
        !matches!(self, Self::Reusable | Self::StrictStays)
    }
}

/// Kinds of faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    pub store: bool,
    pub upstream: bool,
    pub crash: bool,
    pub stop: bool,
    pub clock: bool,
    pub admin: bool,
    pub rollback: bool,
    pub failover: bool,
    pub cancel: bool,
    pub client: bool,
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub mode: Mode,
    pub session: Duration,
    pub tells_expiry: bool,
    pub tells_life: bool,
    pub omits: bool,
    pub idle_limit: Option<Duration>,
    pub one_grant: bool,
    pub processes: usize,
    pub connections: usize,
    /// The loops run as they do outside of a simulation.
    pub usual_intervals: bool,
    pub actions: usize,
    pub faults: Faults,
}

impl Plan {
    pub fn draw(dice: &mut Dice) -> Self {
        let mode = match dice.below(20) {
            0..10 => Mode::StrictRevoke,
            10..14 => Mode::StrictReject,
            14..16 => Mode::StrictStays,
            16..18 => Mode::Reusable,
            18 => Mode::Grace(60),
            _ => Mode::Grace(600),
        };
        let hours = 3600;
        let connections = dice.pick(&[1, 1, 1, 2, 3]);
        Self {
            mode,
            session: Duration::from_secs(dice.pick(&[600, 2 * hours, 2 * hours, 24 * hours])),
            tells_expiry: dice.percent(60),
            tells_life: dice.percent(80),
            omits: dice.percent(30),
            idle_limit: dice.percent(30).then(|| Duration::from_secs(30 * 24 * hours)),
            // Who gets the same token again is a provider that does not rotate.
            one_grant: connections == 1 && !mode.rotates() && dice.percent(40),
            processes: dice.pick(&[2, 2, 2, 3]),
            connections,
            usual_intervals: dice.percent(3),
            actions: 8 + dice.below(28),
            faults: Faults {
                store: dice.percent(50),
                upstream: dice.percent(70),
                crash: dice.percent(40),
                stop: dice.percent(40),
                clock: dice.percent(20),
                admin: dice.percent(30),
                rollback: dice.percent(8),
                failover: dice.percent(30),
                cancel: dice.percent(40),
                client: dice.percent(15),
            },
        }
    }

    /// A world for a script: two processes, one connection, and nothing happens by itself.
    pub fn still(mode: Mode) -> Self {
        Self {
            mode,
            session: Duration::from_secs(7200),
            tells_expiry: true,
            tells_life: true,
            omits: false,
            idle_limit: None,
            one_grant: false,
            processes: 2,
            connections: 1,
            usual_intervals: false,
            actions: 0,
            faults: Faults::default(),
        }
    }

    pub fn apply(&self, settings: &mut Settings) {
        settings.rotation = self.mode.rotation();
        settings.rotates = self.mode.rotates();
        settings.revokes_families = self.mode == Mode::StrictRevoke;
        settings.session = self.session;
        settings.tells_expiry = self.tells_expiry;
        settings.tells_life = self.tells_life;
        settings.omits = self.omits;
        settings.idle_limit = self.idle_limit;
        settings.one_grant_per_user = self.one_grant;
        "secret".clone_into(&mut settings.client_secret);
        // The way there and back takes its time; see `wire`.
        settings.takes = Duration::ZERO;
    }
}
