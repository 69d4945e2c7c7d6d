//! A secret cannot be printed.

use grantry::{
    connection::Credentials,
    keys::PresentedKey,
    oauth::{Pkce, State},
    provider::TokenSet,
    secret::{Secret, SecretBytes},
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
