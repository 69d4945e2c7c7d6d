//! A secret cannot be serialised.

use grantry::{
    connection::Credentials,
    provider::TokenSet,
    secret::{Secret, SecretBytes},
    testing::{Pkce, PresentedKey, State},
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
