//! Tools that look at a store.

use super::ground::Ground;
use crate::support::{World, command};

/// The password of an address is in nothing that the program says, and tools do not make a store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_say_what_is_wrong_with_a_server() {
    let (world, server) = (World::new().await, Ground::one());
    let doctor = |address: &str| {
        let mut doctor = command();
        doctor
            .arg("doctor")
            .env("GRANTRY_STORE", address)
            .env("GRANTRY_KEYS", world.keys());
        let done = doctor.output().unwrap();
        let said = [done.stdout, done.stderr].concat();
        (done.status.success(), String::from_utf8(said).unwrap())
    };
    let with_password = server.address().replace("://", "://:CANARYpassword@");
    let nobody = "redis://:CANARYpassword@127.0.0.1:1".to_owned();
    for (address, code) in [
        (server.address(), "redis_no_store: "),
        (with_password, "redis_refused: "),
        (nobody, "redis_unreachable: "),
        ("redis://:CANARYpassword@".to_owned(), "redis_bad_address: "),
    ] {
        let (well, said) = doctor(&address);
        assert!(!well && said.contains(code), "{said}");
        assert!(!said.contains("CANARY"), "{said}");
    }
    world.launch().store(&server.address()).start().await;
    let (well, said) = doctor(&server.address());
    assert!(well, "{said}");
}
