//! Records around the number with which a step begins.

use countersign::record::{self, Encryption, OVERHEAD, Opened, Records};

use super::{Ends, SENDERS};
use crate::support::encrypted_record;

/// The number of the first record of step 1.
const FIRST: u64 = 65_536;

/// Ends of which the sender has sent records already, up to this number.
fn after(seq: u64, sender: &str) -> Ends {
    let mut ends = Ends::new();
    let [sender, receiver] = ends.from(sender);
    for seq in 0..seq {
        assert_eq!(
            receiver.opener.open(&mut next(sender)),
            Ok(Opened::Data(b"x")),
            "{seq}"
        );
    }
    ends
}

fn next(sender: &mut Records<Encryption>) -> [u8; 1 + OVERHEAD] {
    let mut record = [b'x'; 1 + OVERHEAD];
    sender.sealer.seal(&mut record).unwrap();
    record
}

#[test]
fn a_record_is_opened_under_the_key_of_its_own_step_only() {
    for sender in SENDERS {
        for (seq, step, other_step) in [(FIRST - 1, 0, 1), (FIRST, 1, 0)] {
            let mut ends = after(seq, sender);
            let [right, mut wrong] = [step, other_step]
                .map(|step| encrypted_record(&ends.keys.key(sender, step), seq, b"x"));
            let [sender, receiver] = ends.from(sender);
            assert_eq!(next(sender)[..], right, "{seq}");
            let refused = receiver.opener.open(&mut wrong);
            assert_eq!(refused, Err(record::Error::BadTag), "{seq}");
        }
    }
}

#[test]
fn a_close_at_the_edge_of_a_step_is_of_the_step_of_its_number() {
    for sender in SENDERS {
        for seq in [FIRST - 1, FIRST] {
            let mut ends = after(seq, sender);
            let expected = ends.keys.record(sender, seq, b"");
            let [sender, receiver] = ends.from(sender);
            let mut close = sender.sealer.close().unwrap();
            assert_eq!(close[..], expected, "{seq}");
            assert_eq!(receiver.opener.open(&mut close), Ok(Opened::Close), "{seq}");
        }
    }
}

#[test]
fn the_step_of_one_direction_leaves_the_other_as_it_was() {
    let mut ends = after(FIRST, "client");
    let expected = ends.keys.record("server", 0, b"x");
    let [server, client] = ends.from("server");
    let mut record = next(server);
    assert_eq!(record[..], expected);
    assert_eq!(client.opener.open(&mut record), Ok(Opened::Data(b"x")));
}
