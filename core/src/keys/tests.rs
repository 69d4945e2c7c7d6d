use std::sync::{
    Mutex,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use async_trait::async_trait;

use super::*;
use crate::{
    secret::SecretBytes,
    store::{KeyInserted, KeyRevoked, memory::MemoryStore},
    time::BootInstant,
    vault::{Keyring, Mac, SealContext, VaultError},
};

const NOW: Timestamp = Timestamp(1_775_831_520_000);

#[derive(Debug, Default)]
struct Ticks(AtomicU64);

impl Clock for Ticks {
    fn wall(&self) -> Timestamp {
        NOW
    }
    fn boot(&self) -> BootInstant {
        BootInstant(self.0.load(Ordering::SeqCst))
    }
    fn wall_coarse(&self) -> Timestamp {
        self.wall()
    }
    fn tick(&self) -> u64 {
        self.boot().0
    }
}

/// A vault that counts the digests that it makes.
#[derive(Debug)]
struct Counting {
    vault: Keyring,
    digests: AtomicUsize,
    keys: Mutex<Vec<Option<String>>>,
}

#[async_trait]
impl TokenVault for Counting {
    async fn seal(&self, context: &SealContext<'_>, plaintext: &[u8]) -> Result<Vec<u8>, VaultError> {
        self.vault.seal(context, plaintext).await
    }
    async fn open(&self, context: &SealContext<'_>, sealed: &[u8]) -> Result<SecretBytes, VaultError> {
        self.vault.open(context, sealed).await
    }
    async fn ready(&self) -> Result<(), VaultError> {
        self.vault.ready().await
    }
    async fn mac(&self, purpose: &'static str, key: Option<&str>, data: &[u8]) -> Result<Mac, VaultError> {
        self.digests.fetch_add(1, Ordering::SeqCst);
        self.keys.lock().unwrap().push(key.map(Into::into));
        self.vault.mac(purpose, key, data).await
    }
    fn key_of(&self, sealed: &[u8]) -> Option<String> {
        self.vault.key_of(sealed)
    }
}

struct Bench {
    clock: Arc<Ticks>,
    store: Arc<MemoryStore>,
    vault: Arc<Counting>,
    keys: Keys,
    integration: IntegrationId,
}

fn counting(line: &Secret) -> Arc<Counting> {
    Arc::new(Counting {
        vault: Keyring::parse(line).unwrap(),
        digests: AtomicUsize::new(0),
        keys: Mutex::default(),
    })
}

fn bench_on(line: &Secret) -> Bench {
    let clock = Arc::new(Ticks::default());
    let store = Arc::new(MemoryStore::new(clock.clone()));
    let vault = counting(line);
    Bench {
        keys: Keys::new(store.clone(), vault.clone(), clock.clone()),
        integration: IntegrationId::generate(),
        clock,
        store,
        vault,
    }
}

fn bench() -> Bench {
    bench_on(&Keyring::generate().unwrap())
}

impl Bench {
    async fn mint(&self, expires_at: Option<Timestamp>) -> (KeyRow, PresentedKey) {
        let minted = self
            .keys
            .mint(KeyKind::Api, Some(&self.integration), expires_at, NOW);
        let (row, secret) = minted.await.unwrap();
        (row, PresentedKey::parse(secret.expose()).unwrap())
    }

    async fn refused(&self, shown: &PresentedKey, now: Timestamp) -> Code {
        self.keys.verify(shown, now).await.unwrap_err().code()
    }

    fn digests(&self) -> usize {
        self.vault.digests.load(Ordering::SeqCst)
    }

    fn pass(&self, millis: u64) {
        self.clock.0.fetch_add(millis, Ordering::SeqCst);
    }

    async fn edit(&self, row: &KeyRow) {
        let integration = row.integration.as_ref().unwrap();
        self.store.remove_keys(integration).await.unwrap();
        let inserted = self.store.insert_key(row, 9, NOW).await;
        assert_eq!(inserted.unwrap(), KeyInserted::Created);
    }
}

#[tokio::test]
async fn a_key_is_known_by_what_was_shown() {
    let bench = bench();
    let (row, shown) = bench.mint(None).await;
    let verified = bench.keys.verify(&shown, NOW).await.unwrap();
    assert_eq!(
        *verified,
        VerifiedKey {
            id: row.id.clone(),
            kind: KeyKind::Api,
            integration: Some(bench.integration.clone()),
        }
    );
    // What is stored does not authenticate.
    let shown = String::from_utf8(shown.bytes().to_vec()).unwrap();
    assert!(!format!("{row:?}").contains(&shown[24..]));
}

/// A04 and A05: an unknown id and a wrong secret look the same and cost the same.
#[tokio::test]
async fn unknown_keys_cost_one_digest() {
    let bench = bench();
    let (row, _) = bench.mint(None).await;
    let before = bench.digests();
    let unknown = PresentedKey::generate(KeyKind::Api).unwrap();
    assert_eq!(bench.refused(&unknown, NOW).await, Code::KeyUnknown);
    assert_eq!(bench.digests(), before + 1);

    let elsewhere = bench.store.clone();
    let wrong_secret = KeyRow {
        id: unknown.id().clone(),
        ..row.clone()
    };
    let inserted = elsewhere.insert_key(&wrong_secret, 9, NOW).await;
    assert_eq!(inserted.unwrap(), KeyInserted::Created);
    assert_eq!(bench.refused(&unknown, NOW).await, Code::KeyUnknown);
    assert_eq!(bench.digests(), before + 2);
}

/// W18, and a row whose kind was edited.
#[tokio::test]
async fn a_damaged_row_never_matches() {
    let bench = bench();
    let (row, shown) = bench.mint(None).await;
    bench
        .edit(&KeyRow {
            digest: [0; 32],
            ..row.clone()
        })
        .await;
    assert_eq!(bench.refused(&shown, NOW).await, Code::KeyUnknown);
    bench
        .edit(&KeyRow {
            kind: KeyKind::Admin,
            ..row.clone()
        })
        .await;
    assert_eq!(bench.refused(&shown, NOW).await, Code::KeyUnknown);
    bench
        .edit(&KeyRow {
            digest_key: "gone".into(),
            ..row
        })
        .await;
    assert_eq!(bench.refused(&shown, NOW).await, Code::VaultKeyUnknown);
}

/// A06: only who knows the secret learns that the key is over.
#[tokio::test]
async fn revoked_and_expired_keys() {
    let bench = bench();
    let end = Timestamp(NOW.0 + 1000);
    let (_, expiring) = bench.mint(Some(end)).await;
    assert!(bench.keys.verify(&expiring, NOW).await.is_ok());
    // Also while the cache still knows it.
    assert_eq!(bench.refused(&expiring, end).await, Code::KeyExpired);

    let (row, revoked) = bench.mint(None).await;
    assert!(bench.keys.verify(&revoked, NOW).await.is_ok());
    let integration = Some(&bench.integration);
    assert!(bench.keys.revoke(integration, &row.id, NOW).await.unwrap());
    assert!(!bench.keys.revoke(integration, &row.id, NOW).await.unwrap());
    assert_eq!(bench.refused(&revoked, NOW).await, Code::KeyRevoked);

    let strangers = IntegrationId::generate();
    for (owner, id) in [
        (Some(&strangers), &row.id),
        (None, &row.id),
        (integration, &KeyId::generate()),
    ] {
        let error = bench.keys.revoke(owner, id, NOW).await.unwrap_err();
        assert_eq!(error.code(), Code::KeyNotFound);
    }
}

/// A busy key costs one look a second, and another process learns of a revocation within that second.
#[tokio::test]
async fn verified_keys_are_remembered_for_less_than_a_second() {
    let bench = bench();
    let (row, shown) = bench.mint(None).await;
    let before = bench.digests();
    for _ in 0..1000 {
        bench.keys.verify(&shown, NOW).await.unwrap();
    }
    assert_eq!(bench.digests(), before + 1);

    // As if by another process: this one's cache is not told.
    let revoked = bench.store.revoke_key(&row.id, NOW).await;
    assert_eq!(revoked.unwrap(), KeyRevoked::Revoked);
    bench.pass(900);
    assert!(bench.keys.verify(&shown, NOW).await.is_ok());
    bench.pass(100);
    assert_eq!(bench.refused(&shown, NOW).await, Code::KeyRevoked);
    assert_eq!(bench.refused(&shown, NOW).await, Code::KeyRevoked);
}

#[tokio::test]
async fn two_keys_of_a_kind_may_be_live() {
    let bench = bench();
    let some = Some(&bench.integration);
    let end = Timestamp(NOW.0 + 1000);
    let (first, _) = bench.mint(Some(end)).await;
    bench.mint(None).await;
    let third = bench.keys.mint(KeyKind::Api, some, None, NOW).await.unwrap_err();
    assert_eq!(third.code(), Code::KeysTooMany);
    // Another kind and another integration have room of their own; so has what an expired key leaves.
    assert!(bench.keys.mint(KeyKind::Public, some, None, NOW).await.is_ok());
    assert!(bench.keys.mint(KeyKind::Admin, None, None, NOW).await.is_ok());
    let other = IntegrationId::generate();
    assert!(
        bench
            .keys
            .mint(KeyKind::Api, Some(&other), None, NOW)
            .await
            .is_ok()
    );
    let (fourth, _) = bench.keys.mint(KeyKind::Api, some, None, end).await.unwrap();

    let listed = bench.keys.list(some).await.unwrap();
    assert_eq!(listed.len(), 4);
    assert!(listed.contains(&first) && listed.contains(&fourth));
    assert_eq!(bench.keys.list(None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn keys_that_cannot_be_made() {
    let bench = bench();
    let some = Some(&bench.integration);
    let cases = [
        (KeyKind::Admin, some, None, "integration"),
        (KeyKind::Api, None, None, "integration"),
        (KeyKind::Public, None, None, "integration"),
        (KeyKind::Api, some, Some(NOW), "expires_at"),
    ];
    for (kind, integration, expires_at, reason) in cases {
        let error = bench
            .keys
            .mint(kind, integration, expires_at, NOW)
            .await
            .unwrap_err();
        assert_eq!((error.code(), error.reason()), (Code::FieldInvalid, Some(reason)));
    }
    assert!(bench.keys.list(some).await.unwrap().is_empty());
}

/// A new master key does not end the keys that were made under the old one.
#[tokio::test]
async fn keys_outlive_the_master_key_that_sealed() {
    let line = Keyring::generate().unwrap();
    let bench = bench_on(&line);
    let (row, shown) = bench.mint(None).await;

    let longer = Keyring::add_key(&line).unwrap();
    let ring = Keyring::parse(&longer).unwrap();
    let new_id = ring.key_ids().nth(1).unwrap().to_owned();
    let vault = counting(&Keyring::promote(&longer, &new_id).unwrap());
    let keys = Keys::new(bench.store.clone(), vault.clone(), bench.clock.clone());
    assert!(keys.verify(&shown, NOW).await.is_ok());
    assert_eq!(*vault.keys.lock().unwrap(), [Some(row.digest_key)]);
}
