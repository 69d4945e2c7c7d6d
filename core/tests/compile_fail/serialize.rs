//! A secret cannot be serialised.

use grantry::{
    connection::Credentials,
    keys::PresentedKey,
    oauth::{Pkce, State},
    provider::TokenSet,
    secret::{Secret, SecretBytes},
    vault::Keyring,
};

fn serialized<T: serde::Serialize>() {}

fn main() {
    serialized::<Secret>();
    serialized::<SecretBytes>();
    serialized::<TokenSet>();
    serialized::<Credentials>();
    serialized::<PresentedKey>();
    serialized::<Pkce>();
    serialized::<State>();
    serialized::<Keyring>();
}
