//! A secret cannot be taken out but by the method that says so.

use grantry::{
    secret::{Secret, SecretBytes},
    testing::{PresentedKey, State},
    vault::Keyring,
};

fn main() {
    let secret = Secret::new("text");
    let _ = secret.0;
    let bytes = SecretBytes::new(Vec::new());
    let _ = bytes.0;
}

fn key(key: PresentedKey) {
    let _ = key.text;
}

fn state(state: State) {
    let _ = state.0;
}

fn keyring(keyring: Keyring) {
    let _ = keyring.sealing;
}
