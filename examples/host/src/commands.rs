//! `grantry-host keys …`.

use grantry::vault::Keyring;

use crate::{cli::KeysCommand, problem::Problem, secrets, serve};

/// Runs a `keys` command. Standard output is the key line alone, so that it can be piped into a file.
pub(crate) async fn keys(command: KeysCommand) -> Result<(), Problem> {
    match command {
        KeysCommand::Generate => println!("{}", Keyring::generate()?.expose()),
        KeysCommand::Rotate { promote } => {
            let line = secrets::read(secrets::KEYS)?;
            let rotated = match promote {
                None => Keyring::add_key(&line)?,
                Some(id) => Keyring::promote(&line, &id)?,
            };
            println!("{}", rotated.expose());
            eprintln!(
                "Give this line to every process before you promote the new key, and keep old keys until `keys usage` shows none of theirs."
            );
        }
        KeysCommand::Usage { store } => {
            let store = serve::open_existing(&store).await?;
            println!("{:<24} connections", "key");
            for (key, count) in store.connections.connections_by_key().await? {
                println!("{:<24} {count}", if key.is_empty() { "(none)" } else { &key });
            }
        }
    }
    Ok(())
}
