//! The pure parts of the authorization code flow: what is made before the browser leaves, and read when it comes back.
//! Nothing here does I/O or reads a clock.

mod callback;
mod pkce;
mod redirect_uri;
mod state;

pub use callback::{Callback, ErrorText};
pub use pkce::Pkce;
pub(crate) use redirect_uri::RedirectUri;
pub use state::State;
