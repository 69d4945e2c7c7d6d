//! A provider's token endpoint: families of refresh tokens, of which one is alive.

/// What presenting a spent token does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Nothing: tokens are not rotated.
    Reusable,
    /// It is refused.
    Reject,
    /// It is refused, and ends the whole grant.
    Revoke,
}

/// A refresh token: which family, and which rotation of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token {
    pub family: u8,
    pub rotation: u8,
}

/// A grant at the provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Family {
    /// The living rotation.
    pub living: u8,
    /// Token sets given out.
    pub sets: u8,
    pub revoked: bool,
}

/// A token set that was given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Set {
    pub token: Token,
    /// Tells two answers with one refresh token apart.
    pub serial: u8,
}

impl Set {
    /// The set's random id, as the row holds it.
    pub fn id(self) -> u128 {
        1 + u128::from(self.token.family) * 10_000
            + u128::from(self.token.rotation) * 100
            + u128::from(self.serial)
    }

    pub fn of(id: u128) -> Self {
        let id = u32::try_from(id - 1).unwrap();
        let part = |n: u32| u8::try_from(n).unwrap();
        Self {
            token: Token {
                family: part(id / 10_000),
                rotation: part(id / 100 % 100),
            },
            serial: part(id % 100),
        }
    }
}

/// What the endpoint answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Answer {
    Tokens(Set),
    Dead,
    Busy,
    MayPass,
    Nothing,
}

/// Processes a presentation.
pub fn process(mode: Mode, families: &mut [Family], token: Token) -> Answer {
    let family = &mut families[usize::from(token.family)];
    if family.revoked {
        return Answer::Dead;
    }
    if mode == Mode::Reusable {
        family.sets += 1;
        return Answer::Tokens(Set {
            token,
            serial: family.sets,
        });
    }
    if token.rotation == family.living {
        family.living += 1;
        family.sets += 1;
        let token = Token {
            rotation: family.living,
            ..token
        };
        return Answer::Tokens(Set {
            token,
            serial: family.sets,
        });
    }
    if mode == Mode::Revoke {
        family.revoked = true;
    }
    Answer::Dead
}

/// Revokes a set: its refresh token, if it is the living one.
pub fn revoke(families: &mut [Family], token: Token) {
    let family = &mut families[usize::from(token.family)];
    if family.living == token.rotation {
        family.revoked = true;
    }
}
