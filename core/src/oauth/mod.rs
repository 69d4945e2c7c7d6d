//! The pure parts of the authorization code flow: what is made before the browser leaves, and what is read when it comes
//! back. Nothing here does I/O or reads a clock.

pub mod callback;
pub mod pkce;
pub mod redirect_uri;
pub mod state;

pub use callback::Callback;
pub use pkce::Pkce;
pub use redirect_uri::RedirectUri;
pub use state::State;
