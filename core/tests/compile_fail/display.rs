//! A secret cannot be printed.

use grantry::{
    connection::Credentials,
    provider::TokenSet,
    secret::{Secret, SecretBytes},
    testing::{Pkce, PresentedKey, State},
    vault::Keyring,
};

fn displayed<T: std::fmt::Display>() {}

fn main() {
    displayed::<Secret>();
    displayed::<SecretBytes>();
    displayed::<TokenSet>();
    displayed::<Credentials>();
    displayed::<PresentedKey>();
    displayed::<Pkce>();
    displayed::<State>();
    displayed::<Keyring>();
}
