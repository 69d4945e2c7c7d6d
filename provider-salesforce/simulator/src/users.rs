//! The users of the simulated orgs.

use crate::config::{Config, DEFAULT_PASSWORD, User};
use crate::ids::{record_id, to_18};

/// A user as the simulator knows it.
#[derive(Debug)]
pub(crate) struct UserState {
    pub(crate) user: User,
    pub(crate) id18: String,
    pub(crate) org_id18: String,
    pub(crate) active: bool,
}

/// All users of `config`, including those that it only counts. A user whose org does not exist is left out.
pub(crate) fn of(config: &Config) -> Vec<UserState> {
    let extra = (1..=config.extra_users).map(extra_user);
    let users = config.users.iter().cloned().chain(extra);
    users
        .filter_map(|user| {
            let org = config.orgs.get(user.org)?;
            Some(UserState {
                id18: to_18(&user.id),
                org_id18: to_18(&org.id),
                active: true,
                user,
            })
        })
        .collect()
}

fn extra_user(number: usize) -> User {
    let id = record_id("005", "Xu", u64::try_from(number).unwrap_or(u64::MAX));
    let username = format!("user{number}@acme.com");
    User {
        id: id.get(..15).unwrap_or_default().to_owned(),
        org: 0,
        email: username.clone(),
        username,
        first_name: "User".to_owned(),
        last_name: number.to_string(),
        password: DEFAULT_PASSWORD.to_owned(),
    }
}
