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
    /// For a while after it was spent it brings the same successor; later it ends the whole grant.
    Grace,
}

/// A refresh token: which family, and which rotation of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token {
    pub family: u8,
    pub rotation: u8,
}

impl Token {
    /// So many bits are enough for a code.
    pub const BITS: u32 = 4;

    pub fn code(self) -> u8 {
        assert!(
            self.family < 2 && self.rotation < 8,
            "does not fit in a packed state"
        );
        self.family | self.rotation << 1
    }

    pub fn of(code: u8) -> Self {
        Self {
            family: code & 1,
            rotation: code >> 1,
        }
    }
}

/// A grant at the provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Family {
    /// The living rotation.
    pub living: u8,
    pub revoked: bool,
    /// The one before it still brings it.
    pub grace: bool,
}

impl Family {
    pub fn lives_on(self, token: Token) -> bool {
        self.living == token.rotation && !self.revoked
    }
}

/// Processes a presentation: the new set's refresh token. `None`: the grant is refused.
pub fn process(mode: Mode, family: &mut Family, token: Token) -> Option<Token> {
    if family.revoked {
        return None;
    }
    if mode == Mode::Reusable {
        return Some(token);
    }
    let in_grace = family.grace && token.rotation + 1 == family.living;
    if token.rotation == family.living {
        family.living += 1;
        family.grace = mode == Mode::Grace;
    } else if !in_grace {
        family.revoked = mode != Mode::Reject;
        return None;
    }
    let rotation = family.living;
    Some(Token { rotation, ..token })
}

/// Revokes a set: its refresh token, if it is the living one.
pub fn revoke(families: &mut [Family], token: Token) {
    let family = &mut families[usize::from(token.family)];
    family.revoked |= family.living == token.rotation;
}
