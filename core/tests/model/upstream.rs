//! A provider's token endpoint: families of refresh tokens, of which one token is alive.

/// What presenting a spent token does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing: tokens are not rotated.
    Reusable,
    /// It is refused.
    Reject,
    /// It is refused, and ends the whole grant.
    Revoke,
}

/// A refresh token: which family, and which rotation of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token {
    pub family: u8,
    pub rotation: u8,
}

/// A grant at the provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Family {
    /// The living rotation.
    pub living: u8,
    pub revoked: bool,
}

impl Family {
    pub fn lives_on(self, token: Token) -> bool {
        self.living == token.rotation && !self.revoked
    }
}

/// A token set that was given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Set {
    pub token: Token,
    /// Tells two answers with one refresh token apart.
    pub serial: u8,
}

impl Set {
    /// Not in use by any other set: see `State::canonical`.
    const FRESH: u8 = 3;

    /// The set's random id, as the row holds it.
    pub fn id(self) -> u128 {
        1 + u128::from(self.token.family) * 10_000
            + u128::from(self.token.rotation) * 100
            + u128::from(self.serial)
    }

    pub fn of(id: u128) -> Option<Self> {
        let id = u32::try_from(id.checked_sub(1)?).unwrap();
        let part = |n: u32| u8::try_from(n).unwrap();
        let token = Token {
            family: part(id / 10_000),
            rotation: part(id / 100 % 100),
        };
        Some(Self {
            token,
            serial: part(id % 100),
        })
    }
}

/// Processes a presentation. `None`: the grant is refused.
pub fn process(mode: Mode, family: &mut Family, token: Token) -> Option<Set> {
    if family.revoked {
        return None;
    }
    if mode == Mode::Reusable {
        let serial = Set::FRESH;
        return Some(Set { token, serial });
    }
    if token.rotation == family.living {
        family.living += 1;
        let rotation = family.living;
        return Some(Set {
            token: Token { rotation, ..token },
            serial: 0,
        });
    }
    family.revoked = mode == Mode::Revoke;
    None
}

/// Revokes a set: its refresh token, if it is the living one.
pub fn revoke(families: &mut [Family], token: Token) {
    let family = &mut families[usize::from(token.family)];
    family.revoked |= family.living == token.rotation;
}
