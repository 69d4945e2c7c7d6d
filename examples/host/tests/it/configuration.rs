//! A host that is set up wrongly does not start. It says what is wrong, and shows no secret.

use std::{
    fs::{self, File},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Output, Stdio},
};

use grantry::vault::Keyring;

use crate::support::{ADMIN_KEY, World, command};

/// What is tried: arguments, variables, and how the message begins.
struct Case {
    arguments: Vec<String>,
    variables: Vec<(&'static str, String)>,
    says: String,
}

fn serve(arguments: &[String], variables: &[(&str, String)]) -> Output {
    let mut command: Command = command();
    command.arg("serve").args(arguments).stdin(Stdio::null());
    for (name, value) in variables {
        command.env(name, value);
    }
    command.output().unwrap()
}

#[tokio::test]
async fn what_is_wrong_is_said_and_no_secret_is_shown() {
    let world = World::new().await;
    let dir = world.dir();
    let file = |name: &str, text: &str| {
        let path = dir.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let keys = world.keys();
    let (id, key) = keys.split_once(':').unwrap();
    let occupied = TcpListener::bind("127.0.0.1:0").unwrap();
    let store = format!("sqlite:{}", dir.join("grantry.db").display());
    let good_arguments = ["--listen", "127.0.0.1:0", "--store", &store]
        .map(str::to_owned)
        .to_vec();
    let good_variables = vec![
        ("GRANTRY_KEYS", keys.to_owned()),
        ("GRANTRY_ADMIN_KEY", ADMIN_KEY.to_owned()),
    ];

    let mut cases = Vec::new();
    let mut variable = |name: &'static str, value: &str, says: &str| {
        let mut variables = good_variables.clone();
        variables.retain(|(known, _)| *known != name);
        variables.push((name, value.to_owned()));
        cases.push(Case {
            arguments: good_arguments.clone(),
            variables,
            says: says.to_owned(),
        });
    };
    let another = Keyring::generate().unwrap();
    let (_, another) = another.expose().split_once(':').unwrap();
    let hex = "0123456789abcdef".repeat(4);
    for (line, says) in [
        (String::new(), "keyring_empty: GRANTRY_KEYS is not set"),
        ("  \n".to_owned(), "keyring_empty: GRANTRY_KEYS is not set"),
        (format!("{id}:{}", &key[..40]), "key_length: GRANTRY_KEYS"),
        (format!("{id}:{hex}"), "key_length: GRANTRY_KEYS"),
        (format!("{id}:{}=", "A".repeat(43)), "key_weak: GRANTRY_KEYS"),
        (format!("{keys},{id}:{another}"), "key_id_duplicate: GRANTRY_KEYS"),
        (format!("{keys},other:{key}"), "key_reused: GRANTRY_KEYS"),
        (format!("{keys},:{key}"), "key_id_invalid: GRANTRY_KEYS"),
        (key.to_owned(), "key_id_invalid: GRANTRY_KEYS"),
        (
            format!("{keys}, other:{key}"),
            "keyring_white_space: GRANTRY_KEYS",
        ),
        (format!("{id}:+-{}", &key[2..]), "key_encoding: GRANTRY_KEYS"),
    ] {
        variable("GRANTRY_KEYS", &line, says);
    }
    let other = "other:".to_owned() + key;
    variable(
        "GRANTRY_KEYS_FILE",
        &file("other", &other),
        "config_conflict: GRANTRY_KEYS and GRANTRY_KEYS_FILE",
    );
    variable(
        "GRANTRY_KEYS_FILE",
        "/nowhere/keys",
        "config_invalid: GRANTRY_KEYS_FILE: the file cannot be read",
    );
    variable(
        "GRANTRY_ADMIN_KEY",
        "",
        "config_missing: GRANTRY_ADMIN_KEY is not set",
    );
    variable(
        "GRANTRY_ADMIN_KEY",
        &ADMIN_KEY[..31],
        "config_invalid: GRANTRY_ADMIN_KEY must have 32",
    );
    variable(
        "GRANTRY_ADMIN_KEY",
        &ADMIN_KEY.replace('V', " "),
        "config_invalid: GRANTRY_ADMIN_KEY must have 32",
    );

    let mut argument = |name: &str, value: &str, says: &str| {
        let mut arguments = good_arguments.clone();
        match arguments.iter().position(|known| known == name) {
            Some(at) => value.clone_into(&mut arguments[at + 1]),
            None => arguments.extend([name.to_owned(), value.to_owned()]),
        }
        cases.push(Case {
            arguments,
            variables: good_variables.clone(),
            says: says.to_owned(),
        });
    };
    for url in [
        "http://grantry.example",
        "http://localhost:8080",
        "https://user:CANARYpassword@grantry.example",
        "https://grantry.example/a/../b",
        "https://grantry.example/",
        "https://grantry.example?x=1",
        "https://grantry.example#x",
        "ftp://grantry.example",
        "grantry.example",
        "",
    ] {
        argument("--public-url", url, "redirect_base_invalid: ");
    }
    for store in [
        "postgres://user:CANARYpassword@db/grantry",
        "sqlite:",
        "grantry.db",
        "",
    ] {
        argument("--store", store, "store_unknown: --store takes sqlite:FILE");
    }
    let open = file("open.db", "");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    argument("--store", &format!("sqlite:{open}"), "sqlite_permissions: ");
    let foreign = file("foreign.db", &"no database ".repeat(1000));
    argument("--store", &format!("sqlite:{foreign}"), "");
    argument(
        "--listen",
        &occupied.local_addr().unwrap().to_string(),
        "cannot listen on 127.0.0.1:",
    );

    for Case {
        arguments,
        variables,
        says,
    } in &cases
    {
        let output = serve(arguments, variables);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
        let last = text.lines().last().unwrap_or_default();
        assert!(
            last.starts_with(&format!("grantry-host: {says}")),
            "wanted {says:?}: {text}"
        );
        let all = text + &String::from_utf8(output.stdout).unwrap();
        for secret in [&key[..20], &key[23..], &ADMIN_KEY[10..], &hex, "CANARY"] {
            assert!(!all.contains(secret), "a secret is shown: {all}");
        }
    }
    assert_eq!(fs::read_to_string(&foreign).unwrap(), "no database ".repeat(1000));

    // An argument that does not exist, such as a secret, which has no place there.
    let mut arguments = good_arguments.clone();
    arguments.push(format!("--admin-key={ADMIN_KEY}"));
    let output = serve(&arguments, &good_variables);
    assert_eq!(output.status.code(), Some(2));
    assert!(!String::from_utf8(output.stderr).unwrap().contains(ADMIN_KEY));
}

#[tokio::test]
async fn keys_may_come_from_files_or_from_both_places_alike() {
    let world = World::new().await;
    let file = world.dir().join("keys");
    fs::write(&file, format!("{}\n", world.keys())).unwrap();
    let admin = world.dir().join("admin");
    fs::write(&admin, format!("{ADMIN_KEY}\n")).unwrap();
    for direct in [world.keys(), ""] {
        let host = world
            .launch()
            .variable("GRANTRY_KEYS", direct)
            .variable("GRANTRY_KEYS_FILE", file.to_str().unwrap())
            .variable("GRANTRY_ADMIN_KEY", "")
            .variable("GRANTRY_ADMIN_KEY_FILE", admin.to_str().unwrap())
            .start()
            .await;
        host.admin(reqwest::Method::GET, "/api/v1/offerings", None)
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn a_generated_line_of_keys_works_and_rotates() {
    let world = World::new().await;
    let out = |arguments: &[&str], keys: &str| {
        let error = File::create(world.dir().join("err")).unwrap();
        let output = command()
            .args(arguments)
            .env("GRANTRY_KEYS", keys)
            .stderr(error)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}");
        // Alone on one line, so that it can be piped into a file.
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().count(), 1, "{arguments:?}");
        text
    };
    let old = out(&["keys", "generate"], "");
    let both = out(&["keys", "rotate"], &old);
    assert!(
        both.starts_with(old.trim()),
        "the old key seals until the new one is promoted"
    );
    let new = both.trim().split(',').nth(1).unwrap().split(':').next().unwrap();
    let promoted = out(&["keys", "rotate", "--promote", new], &both);
    assert!(promoted.starts_with(&format!("{new}:")));
    let mut integration = None;
    for line in [old, both, promoted] {
        let host = world.launch().variable("GRANTRY_KEYS", &line).start().await;
        let known = match &integration {
            None => integration.insert(world.integrate(&host, serde_json::json!({})).await),
            Some(known) => known,
        };
        host.get("/api/v1/connections", &known.api_key).await.expect(200);
    }
}
