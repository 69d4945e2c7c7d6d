//! B1: sealing and opening a token set.

use std::hint::black_box;

use chacha20poly1305::{
    XChaCha20Poly1305,
    aead::{Aead as _, KeyInit as _, Payload},
};
use futures_util::FutureExt as _;
use grantry::vault::{Keyring, Purpose, SealContext, TokenVault as _};

use crate::{
    measure::{Scale, Timer, Variant, interleave},
    report::{Must, Row},
    world,
};

/// A token set under the seal: about as long as Salesforce's.
const LENGTHS: [(usize, &str); 2] = [(287, "token set of 287 B"), (1536, "token set of 1.5 KB")];

/// The bare cipher with a random nonce and the associated data that ours has.
#[derive(Debug)]
pub struct Bare(XChaCha20Poly1305);

impl Default for Bare {
    fn default() -> Self {
        Self(XChaCha20Poly1305::new(&[7; 32].into()))
    }
}

impl Bare {
    /// Nonce and ciphertext.
    pub fn seal(&self, aad: &[u8], msg: &[u8]) -> Vec<u8> {
        let mut nonce = [0; 24];
        getrandom::fill(&mut nonce).unwrap();
        let sealed = self.0.encrypt(&nonce.into(), Payload { msg, aad }).unwrap();
        [&nonce[..], &sealed].concat()
    }

    /// What [`Bare::seal`] sealed.
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Vec<u8> {
        let (nonce, msg) = sealed.split_first_chunk::<24>().unwrap();
        self.0.decrypt(nonce.into(), Payload { msg, aad }).unwrap()
    }
}

/// What a connection's tokens are bound to.
pub fn context() -> SealContext<'static> {
    SealContext {
        purpose: Purpose::Tokens,
        integration: "int_0198a6b2c3d47e8f9a0b1c2d3e4f5a6b",
        subject: "con_0198a6b2c3d47e8f9a0b1c2d3e4f5a6b",
        epoch: 1,
        generation: 2,
    }
}

/// As many bytes as [`context`] makes.
pub const AAD: &[u8] = &[3; 119];

/// All rows of this file.
pub fn rows(scale: Scale) -> Vec<Row> {
    let keyring = Keyring::parse(&world::keyring()).unwrap();
    let bare = Bare::default();
    let rounds = scale.pick(31, 101);
    let calls = 500;
    let mut rows = Vec::new();
    for (length, what) in LENGTHS {
        let text = vec![b'x'; length];
        let seal = || keyring.seal(&context(), &text).now_or_never().unwrap().unwrap();
        let open = |blob: &[u8]| keyring.open(&context(), blob).now_or_never().unwrap().unwrap();
        let (ours, theirs) = (seal(), bare.seal(AAD, &text));
        let [both, sealing, opening, bare_both, bare_sealing, bare_opening] = interleave(
            Timer::Cpu,
            rounds,
            [
                Variant::new("keyring", calls, || {
                    for _ in 0..calls {
                        black_box(open(black_box(&seal())));
                    }
                }),
                Variant::new("keyring", calls, || {
                    for _ in 0..calls {
                        black_box(seal());
                    }
                }),
                Variant::new("keyring", calls, || {
                    for _ in 0..calls {
                        black_box(open(black_box(&ours)));
                    }
                }),
                Variant::new("chacha20poly1305", calls, || {
                    for _ in 0..calls {
                        black_box(bare.open(AAD, black_box(&bare.seal(AAD, &text))));
                    }
                }),
                Variant::new("chacha20poly1305", calls, || {
                    for _ in 0..calls {
                        black_box(bare.seal(AAD, &text));
                    }
                }),
                Variant::new("chacha20poly1305", calls, || {
                    for _ in 0..calls {
                        black_box(bare.open(AAD, black_box(&theirs)));
                    }
                }),
            ],
        );
        rows.extend([
            Row::times(
                "B1",
                format!("seal and open, {what}"),
                &both,
                &bare_both,
                Must::AtMost(1.25),
            ),
            Row::times(
                "B1",
                format!("seal, {what}"),
                &sealing,
                &bare_sealing,
                Must::Nothing,
            ),
            Row::times(
                "B1",
                format!("open, {what}"),
                &opening,
                &bare_opening,
                Must::Nothing,
            ),
        ]);
    }
    rows
}
