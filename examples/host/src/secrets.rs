//! Secrets from the environment or from files, never from the command line: arguments are visible to every user of the
//! machine.

use std::{env, fs};

use grantry::secret::Secret;

/// What is wrong, for people.
pub(crate) type Problem = Box<dyn std::error::Error>;

/// The value of `name`, or the content of the file that `name_FILE` names.
pub(crate) fn read(name: &str) -> Result<Secret, Problem> {
    let file = format!("{name}_FILE");
    let direct = env::var(name).ok().map(Secret::new);
    let from_file = match env::var_os(&file) {
        Some(path) => {
            let text = fs::read_to_string(&path).map_err(|error| format!("{file}: the file cannot be read: {}", error.kind()))?;
            Some(Secret::new(text.trim()))
        }
        None => None,
    };
    match (direct, from_file) {
        (Some(a), Some(b)) if a != b => {
            Err(format!("config_conflict: {name} and {file} are both set, and differ; unset one").into())
        }
        (Some(secret), _) | (None, Some(secret)) if !secret.is_empty() => Ok(secret),
        _ => Err(format!("{name} is not set; set it, or {file} to the path of a file that holds it").into()),
    }
}

/// The admin key: 32 or more visible ASCII characters.
pub(crate) fn admin_key() -> Result<Secret, Problem> {
    let key = read("GRANTRY_ADMIN_KEY")?;
    let text = key.expose();
    if text.len() >= 32 && text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(key)
    } else {
        Err("GRANTRY_ADMIN_KEY must have 32 or more visible ASCII characters and no spaces".into())
    }
}
