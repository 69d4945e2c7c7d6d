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

/// Processes a presentation: the new set's refresh token. `None`: the grant is refused.
pub fn process(mode: Mode, family: &mut Family, token: Token) -> Option<Token> {
    if family.revoked {
        return None;
    }
    if mode == Mode::Reusable {
        return Some(token);
    }
    if token.rotation == family.living {
        family.living += 1;
        let rotation = family.living;
        return Some(Token { rotation, ..token });
    }
    family.revoked = mode == Mode::Revoke;
    None
}

/// Revokes a set: its refresh token, if it is the living one.
pub fn revoke(families: &mut [Family], token: Token) {
    let family = &mut families[usize::from(token.family)];
    family.revoked |= family.living == token.rotation;
}
