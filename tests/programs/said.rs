//! Patterns for what the programs print in the words of the library.

pub const ACCEPTED_NAMELESS: &str = r#"127.0.0.1:* accepted, key id """#;
pub const ACCEPTED_WORKER_7: &str = r#"127.0.0.1:* accepted, key id "worker-7""#;
pub const ACCEPTED_BY_ITS_OTHER_SECRET: &str =
    r#"127.0.0.1:* accepted, key id "worker-7" by its accept: secret"#;
pub const UNKNOWN_KEY_ID: &str =
    r#"127.0.0.1:* refused: *unknown key id "nobody"*; this server: *"#;
pub const WRONG_PROOF: &str = "127.0.0.1:* refused: *wrong proof *";
pub const HTTP: &str = "127.0.0.1:* refused: *they look like HTTP*";
pub const SILENT: &str =
    "127.0.0.1:* refused: timed out while awaiting the client's response (F2)*";
pub const CLIENT_PROTECTS: &str =
    "127.0.0.1:* refused: the peer wants protect (mode 1) and this end authenticate (mode 0); *";
pub const CLIENT_AUTHENTICATES: &str =
    "127.0.0.1:* refused: the peer wants authenticate (mode 0) and this end protect (mode 1); *";

pub const DENIED: &str = "the server denied this client, which used key id *";
pub const PEER_AUTHENTICATES: &str =
    "the peer wants authenticate (mode 0) and this end protect (mode 1); *";
pub const PEER_PROTECTS: &str =
    "the peer wants protect (mode 1) and this end authenticate (mode 0); *";
pub const INCOMPATIBLE: &str = "the peer does not speak this protocol: *";

#[cfg(unix)]
pub const EXPOSED: &str = "others than its owner * may read it (mode 0644)*chmod 06*0 '*'";
pub const TOO_SHORT: &str = "key file *too short: 8 bytes*";

pub const WRONG_DIGEST: &str = "127.0.0.1:* refused: *its digest is wrong*";
#[cfg(feature = "multiprocessing")]
pub const REJECTED: &str = "the peer rejected this end's digest: *";
#[cfg(feature = "multiprocessing")]
pub const WRONG_DIGEST_OF_AUTHKEY: &str = "127.0.0.1:* *: the peer's digest is wrong*";
#[cfg(feature = "multiprocessing")]
pub const SILENT_ABOUT_AUTHKEY: &str =
    "127.0.0.1:* refused: timed out while awaiting the digest of a challenge";
