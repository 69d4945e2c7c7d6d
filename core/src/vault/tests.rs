use futures_util::FutureExt as _;
use serde::Deserialize;

use super::*;
use crate::secret::Secret;

const KEY_1: &str = "k1:q0dLx2S5p7C3b8mVwYt1uJeRhZ4nPfA6s9TgXcKiO0M=";
const KEY_2: &str = "k2:_RvW3nYk8sQ1xHc5ZpTj2bLg7uEi0oMd4fAa9CtBwKU";

fn ring(lines: &[&str]) -> Keyring {
    Keyring::parse(&Secret::new(lines.join(","))).unwrap()
}

fn tokens() -> SealContext<'static> {
    SealContext {
        purpose: Purpose::Tokens,
        integration: "int_a",
        subject: "con_a",
        epoch: 3,
        generation: 7,
    }
}

fn seal(ring: &Keyring, context: &SealContext<'_>, text: &[u8]) -> Vec<u8> {
    ring.seal(context, text).now_or_never().unwrap().unwrap()
}

fn open(ring: &Keyring, context: &SealContext<'_>, blob: &[u8]) -> Result<Vec<u8>, VaultError> {
    let opened = ring.open(context, blob).now_or_never().unwrap()?;
    Ok(opened.expose().to_vec())
}

#[test]
fn opens_what_it_sealed_and_never_seals_alike() {
    let ring = ring(&[KEY_1]);
    for length in [0, 1, 15, 16, 17, 63, 64, 65, 1500, 70_000] {
        let text = vec![0x5a; length];
        let (a, b) = (seal(&ring, &tokens(), &text), seal(&ring, &tokens(), &text));
        assert_ne!(a, b);
        assert_eq!(open(&ring, &tokens(), &a).unwrap(), text);
        assert_eq!(ring.key_of(&a).as_deref(), Some("k1"));
    }
}

/// W03: no single bit of a blob can be changed.
#[test]
fn every_flipped_bit_is_noticed() {
    let ring = ring(&[KEY_1, KEY_2]);
    let blob = seal(&ring, &tokens(), &[0xc3; 200]);
    for bit in 0..blob.len() * 8 {
        let mut changed = blob.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let error = open(&ring, &tokens(), &changed).unwrap_err();
        match bit / 8 {
            // The magic and the algorithm: another format, as far as can be told.
            0..=3 => assert_eq!(error, VaultError::UnknownEnvelope, "bit {bit}"),
            // The key id and its length: another key, or no id at all.
            4..=6 => assert!(
                matches!(error, VaultError::UnknownKey | VaultError::Tampered),
                "bit {bit}"
            ),
            _ => assert_eq!(error, VaultError::Tampered, "bit {bit}"),
        }
    }
}

/// W02, and blobs with bytes added.
#[test]
fn every_other_length_is_noticed() {
    let ring = ring(&[KEY_1]);
    let blob = seal(&ring, &tokens(), b"some plaintext");
    for length in 0..blob.len() {
        assert_eq!(
            open(&ring, &tokens(), &blob[..length]),
            Err(VaultError::Tampered),
            "{length}"
        );
    }
    for extra in 1..64 {
        let mut longer = blob.clone();
        longer.resize(blob.len() + extra, 0);
        assert_eq!(open(&ring, &tokens(), &longer), Err(VaultError::Tampered));
    }
}

/// W06: a blob opens only where it was sealed for.
#[test]
fn every_field_of_the_context_is_bound() {
    let ring = ring(&[KEY_1]);
    let blob = seal(&ring, &tokens(), b"text");
    let others = [
        SealContext {
            purpose: Purpose::ClientSecret,
            ..tokens()
        },
        SealContext {
            integration: "int_b",
            ..tokens()
        },
        SealContext {
            integration: "",
            ..tokens()
        },
        SealContext {
            subject: "con_b",
            ..tokens()
        },
        SealContext {
            integration: "con_a",
            subject: "int_a",
            ..tokens()
        },
        SealContext {
            integration: "int_acon_a",
            subject: "",
            ..tokens()
        },
        SealContext { epoch: 4, ..tokens() },
        SealContext {
            generation: 8,
            ..tokens()
        },
        SealContext {
            epoch: 7,
            generation: 3,
            ..tokens()
        },
    ];
    for context in others {
        assert_eq!(
            open(&ring, &context, &blob),
            Err(VaultError::Tampered),
            "{context:?}"
        );
    }
}

/// W06: a key id that names another key of the ring does not open, nor does a blob by a stranger's key of that id.
#[test]
fn keys_are_not_tried() {
    let both = ring(&[KEY_1, KEY_2]);
    let mut blob = seal(&both, &tokens(), b"text");
    assert_eq!(&blob[5..7], b"k1");
    blob[6] = b'2';
    assert_eq!(open(&both, &tokens(), &blob), Err(VaultError::Tampered));

    let foreign = ring(&[&KEY_2.replace("k2:", "k1:")]);
    let blob = seal(&foreign, &tokens(), b"text");
    assert_eq!(open(&both, &tokens(), &blob), Err(VaultError::Tampered));
}

/// W05: a key that was not given is told apart from damage.
#[test]
fn rotation_in_three_steps() {
    let line = Secret::new(KEY_1);
    let old = Keyring::parse(&line).unwrap();
    let staged_line = Keyring::add_key(&line).unwrap();
    let staged = Keyring::parse(&staged_line).unwrap();
    let new_id = staged.key_ids().nth(1).unwrap().to_owned();
    let promoted = Keyring::parse(&Keyring::promote(&staged_line, &new_id).unwrap()).unwrap();

    assert_eq!(
        (staged.sealing_key(), promoted.sealing_key()),
        ("k1", new_id.as_str())
    );
    let before = seal(&old, &tokens(), b"before");
    let after = seal(&promoted, &tokens(), b"after");
    assert_eq!(open(&promoted, &tokens(), &before).unwrap(), b"before");
    assert_eq!(open(&staged, &tokens(), &after).unwrap(), b"after");
    assert_eq!(open(&old, &tokens(), &after), Err(VaultError::UnknownKey));
    assert_eq!(promoted.key_of(&after), Some(new_id));
}

#[test]
fn digests_differ_by_key_purpose_and_data() {
    let both = ring(&[KEY_1, KEY_2]);
    let mac = |purpose, key, data: &[u8]| both.mac(purpose, key, data).now_or_never().unwrap();
    let base = mac("a", None, b"data").unwrap();
    assert_eq!(base.key, "k1");
    assert_eq!(mac("a", Some("k1"), b"data").unwrap(), base);
    for other in [
        mac("a", Some("k2"), b"data").unwrap(),
        mac("b", None, b"data").unwrap(),
        mac("a", None, b"Data").unwrap(),
    ] {
        assert_ne!(other.digest, base.digest);
    }
    assert_eq!(mac("a", Some("k3"), b"data"), Err(VaultError::UnknownKey));
}

/// The bad inputs K01 to K08.
#[test]
fn lines_that_are_no_keyring() {
    let good = &KEY_1[3..];
    let url_safe = &KEY_2[3..];
    let hex = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let cases: &[(&str, String, &str)] = &[
        ("K01 nothing", String::new(), "keyring_empty"),
        ("K01 white space", " \n".into(), "keyring_empty"),
        ("K02 31 bytes", format!("k1:{}A", &url_safe[..41]), "key_length"),
        ("K02 33 bytes", format!("k1:{url_safe}A"), "key_length"),
        ("K02 hexadecimal", format!("k1:{hex}"), "key_length"),
        ("K02 no key", "k1:".into(), "key_length"),
        (
            "K02 very long",
            format!("k1:{}", "A".repeat(1 << 20)),
            "key_length",
        ),
        ("K03 zeros", format!("k1:{}", "A".repeat(43)), "key_weak"),
        (
            "K03 one byte repeated",
            format!("k1:{}s", "q6ur".repeat(10) + "q6"),
            "key_weak",
        ),
        (
            "K04 one id twice",
            format!("k1:{good},k1:{url_safe}"),
            "key_id_duplicate",
        ),
        (
            "K05 one key twice",
            format!("k1:{good},k2:{}", good.trim_end_matches('=')),
            "key_reused",
        ),
        ("K06 no id", format!(":{good}"), "key_id_invalid"),
        ("K06 no colon", good.into(), "key_id_invalid"),
        ("K06 bad character", format!("k.1:{good}"), "key_id_invalid"),
        (
            "K06 too long",
            format!("{}:{good}", "k".repeat(17)),
            "key_id_invalid",
        ),
        ("K06 empty entry", format!("k1:{good},"), "key_id_invalid"),
        (
            "K06 the key as the id",
            format!("{url_safe}:k1"),
            "key_id_invalid",
        ),
        (
            "K07 space inside",
            format!("k1:{good}, k2:{url_safe}"),
            "keyring_white_space",
        ),
        (
            "K07 newline inside",
            format!("k1:{good}\nk2:{url_safe}"),
            "keyring_white_space",
        ),
        (
            "K08 both alphabets",
            "k1:+_vW3nYk8sQ1xHc5ZpTj2bLg7uEi0oMd4fAa9CtBwKU".into(),
            "key_encoding",
        ),
        ("K08 no base64", format!("k1:{}", "!".repeat(43)), "key_encoding"),
        (
            "K08 spare bits set",
            format!("k1:{}V", &url_safe[..42]),
            "key_encoding",
        ),
    ];
    for (row, line, code) in cases {
        let error = Keyring::parse(&Secret::new(line.as_str())).unwrap_err();
        assert_eq!(error.code(), *code, "{row}");
        for shown in [error.to_string(), format!("{error:?}")] {
            assert!(
                !shown.contains(&good[..8]) && !shown.contains(&url_safe[..8]),
                "{row}: {shown}"
            );
        }
    }
}

/// K07 and K08: what is accepted.
#[test]
fn lines_that_are_a_keyring() {
    let bytes_of = |line: String| {
        let ring = Keyring::parse(&Secret::new(line)).unwrap();
        ring.mac("x", None, b"").now_or_never().unwrap().unwrap().digest
    };
    let standard = "k:/RvW3nYk8sQ1xHc5ZpTj2bLg7uEi0oMd4fAa9CtBwKU=";
    let expected = bytes_of(standard.into());
    for line in [
        standard.trim_end_matches('=').to_owned(),
        standard.replace('/', "_"),
        standard.replace('/', "_").trim_end_matches('=').to_owned(),
        format!(" {standard}\r\n"),
    ] {
        assert_eq!(bytes_of(line), expected);
    }
    assert_ne!(Keyring::generate().unwrap(), Keyring::generate().unwrap());
    let unknown = Keyring::promote(&Secret::new(KEY_1), "nobody").unwrap_err();
    assert_eq!(unknown.code(), "key_id_unknown");
}

#[test]
fn debug_shows_key_ids_only() {
    let text = format!("{:?}", ring(&[KEY_1, KEY_2]));
    assert_eq!(text, r#"Keyring["k1", "k2"]"#);
}

#[derive(Deserialize)]
struct Vectors {
    keyring: String,
    good: Vec<Good>,
    bad: Vec<Bad>,
}

#[derive(Deserialize)]
struct Good {
    name: String,
    key: String,
    nonce: String,
    context: Context,
    plaintext: String,
    blob: String,
}

#[derive(Deserialize)]
struct Bad {
    name: String,
    context: Context,
    blob: String,
    error: String,
}

#[derive(Deserialize)]
struct Context {
    purpose: String,
    integration: String,
    subject: String,
    epoch: u64,
    generation: u64,
}

impl Context {
    fn seal(&self) -> SealContext<'_> {
        let purposes = [
            Purpose::Tokens,
            Purpose::ClientSecret,
            Purpose::Pending,
            Purpose::Cursor,
        ];
        let named = |purpose: &Purpose| purpose.as_str() == self.purpose;
        SealContext {
            purpose: purposes.into_iter().find(named).unwrap(),
            integration: &self.integration,
            subject: &self.subject,
            epoch: self.epoch,
            generation: self.generation,
        }
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

/// The published vectors, which another implementation made (`tests/vectors/envelope.py`).
#[test]
fn published_vectors() {
    let vectors: Vectors = serde_json::from_str(include_str!("../../tests/vectors/envelope.json")).unwrap();
    let ring = Keyring::parse(&Secret::new(vectors.keyring)).unwrap();
    for case in vectors.good {
        let (blob, text) = (bytes(&case.blob), bytes(&case.plaintext));
        assert_eq!(
            open(&ring, &case.context.seal(), &blob).unwrap(),
            text,
            "{}",
            case.name
        );
        let nonce = bytes(&case.nonce).try_into().unwrap();
        let key = ring.key(&case.key).unwrap();
        let sealed = envelope::seal(key, &nonce, &case.context.seal(), &text).unwrap();
        assert_eq!(sealed, blob, "{}", case.name);
    }
    for case in vectors.bad {
        let error = open(&ring, &case.context.seal(), &bytes(&case.blob)).unwrap_err();
        let name = match error {
            VaultError::Tampered => "tampered",
            VaultError::UnknownEnvelope => "unknown_envelope",
            VaultError::UnknownKey => "unknown_key",
            VaultError::Unavailable(_) => "unavailable",
        };
        assert_eq!(name, case.error, "{}", case.name);
    }
}
