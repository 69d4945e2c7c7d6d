//! A secret cannot be copied by accident.

use grantry::{
    connection::Credentials,
    provider::TokenSet,
    secret::{Secret, SecretBytes},
    testing::{Pkce, PresentedKey, State},
    vault::Keyring,
};

fn cloned<T: Clone>() {}

fn main() {
    cloned::<Secret>();
    cloned::<SecretBytes>();
    cloned::<TokenSet>();
    cloned::<Credentials>();
    cloned::<PresentedKey>();
    cloned::<Pkce>();
    cloned::<State>();
    cloned::<Keyring>();
}
