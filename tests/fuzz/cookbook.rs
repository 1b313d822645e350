//! Both ends of the cookbook protocol, whose peer sends arbitrary bytes.

use countersign::compat::cookbook::{Problem, client_authenticate, server_authenticate};
use countersign::{Error, Phase};

use super::harness::{Options, Wire, without_allocating};

const SECRET: &[u8] = b"peekaboo";

/// Options: bit 3 is the side.
pub fn body(input: &[u8]) {
    let Some((options, says)) = Options::split(input) else {
        return;
    };
    let mut wire = Wire::new(says, options);
    if options.bit(3) {
        server(&mut wire);
    } else {
        client(&mut wire);
    }
    assert!(wire.read().len() <= 32, "nothing after the message is read");
}

fn server(wire: &mut Wire<'_>) {
    let error = without_allocating(|| server_authenticate(wire, SECRET))
        .expect_err("no success without the secret");
    // The challenge, and no answer.
    assert_eq!(wire.written().len(), 32);
    match error {
        Error::Cookbook(Problem::WrongDigest) => assert_eq!(wire.read().len(), 32),
        Error::Closed(Phase::Awaiting(message)) => {
            assert_eq!(message.to_string(), "the digest of a challenge");
            assert!(wire.read().len() < 32);
        }
        error => panic!("{error}"),
    }
}

/// In this protocol the client has to answer every challenge.
fn client(wire: &mut Wire<'_>) {
    let outcome = without_allocating(|| client_authenticate(wire, SECRET));
    let asked = wire.read();
    let signed = match outcome {
        Ok(_) => 32,
        Err(Error::Cookbook(problem)) => {
            assert!(match problem {
                Problem::Multiprocessing => asked.starts_with(b"{sha256}"),
                Problem::Native => asked.starts_with(b"CSIGN1"),
                _ => false,
            });
            0
        }
        Err(Error::Closed(Phase::Awaiting(message))) => {
            assert_eq!(message.to_string(), "a challenge");
            assert!(asked.len() < 32);
            0
        }
        Err(error) => panic!("{error}"),
    };
    assert_eq!(wire.written().len(), signed);
    if signed > 0 {
        assert_eq!(asked.len(), 32);
        assert!(!asked.starts_with(b"{sha256}") && !asked.starts_with(b"CSIGN1"));
    }
}
