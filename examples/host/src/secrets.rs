//! Secrets from the environment or from files, never from the command line: any user of the machine can read
//! arguments.

use std::{env, fs};

use grantry::{secret::Secret, vault::Keyring};

use crate::problem::Problem;

/// The variable with the key line.
pub(crate) const KEYS: &str = "GRANTRY_KEYS";

/// The value of `name`, or the content of the file that `name_FILE` names.
pub(crate) fn read(name: &str) -> Result<Secret, Problem> {
    let file = format!("{name}_FILE");
    let direct = env::var(name).ok().map(|text| Secret::new(text.trim()));
    let from_file = match env::var_os(&file) {
        Some(path) => {
            let text = fs::read_to_string(&path).map_err(|error| {
                format!(
                    "config_invalid: {file}: the file cannot be read: {}",
                    error.kind()
                )
            })?;
            Some(Secret::new(text.trim()))
        }
        None => None,
    };
    let given = |secret: &Secret| !secret.is_empty();
    match (direct.filter(given), from_file.filter(given)) {
        (Some(a), Some(b)) if a != b => {
            Err(format!("config_conflict: {name} and {file} are both set, and differ; unset one").into())
        }
        (Some(secret), _) | (None, Some(secret)) => Ok(secret),
        (None, None) => {
            let code = if name == KEYS {
                "keyring_empty"
            } else {
                "config_missing"
            };
            Err(
                format!("{code}: {name} is not set; set it, or {file} to the path of a file that holds it")
                    .into(),
            )
        }
    }
}

/// The keys of `line`. An error starts with its stable code.
pub(crate) fn keyring(line: &Secret) -> Result<Keyring, Problem> {
    Keyring::parse(line).map_err(|error| format!("{}: {KEYS}: {error}", error.code()).into())
}

/// The admin key: 32 or more visible ASCII characters.
pub(crate) fn admin_key() -> Result<Secret, Problem> {
    let key = read("GRANTRY_ADMIN_KEY")?;
    let text = key.expose();
    if text.len() >= 32 && text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(key)
    } else {
        Err(
            "config_invalid: GRANTRY_ADMIN_KEY must have 32 or more visible ASCII characters and no spaces"
                .into(),
        )
    }
}
