//! Records that no honest end sends next, and what a session exports.

use countersign::record::{self, OVERHEAD, Opened, PAYLOAD_MAX, len_of};

use super::{Ends, SENDERS, other};
use crate::support::{
    EXPORT_LABEL, Exchanged, aes_256_gcm, encrypted_record, export, exported, record,
};

const PAYLOAD: &[u8] = b"a payload";
const N: [u8; 2] = [0, 9];

/// The record 1 of a sender, as somebody makes it who makes one mistake.
type Mistake = fn(&Ends, &str) -> Vec<u8>;

/// Keys that are made of this in the place of Xe.
fn keys_of(xe: [u8; 32]) -> Exchanged {
    Exchanged { xe, ke: xe }
}

/// Record 1 with this nonce and these associated data.
fn with(ends: &Ends, sender: &str, nonce: [&[u8]; 2], associated: &[u8]) -> Vec<u8> {
    let nonce = nonce.concat().try_into().unwrap();
    let sealed = aes_256_gcm(&ends.keys.key(sender, 0), nonce, associated, PAYLOAD);
    [&N[..], &sealed].concat()
}

const MISTAKES: &[(&str, Mistake)] = &[
    ("X is the key", |ends, _| {
        encrypted_record(&ends.x, 1, PAYLOAD)
    }),
    ("Z is the key", |ends, _| {
        encrypted_record(&ends.z, 1, PAYLOAD)
    }),
    ("Xe is the key", |ends, _| {
        encrypted_record(&ends.keys.xe, 1, PAYLOAD)
    }),
    ("Ke is the key", |ends, _| {
        encrypted_record(&ends.keys.ke, 1, PAYLOAD)
    }),
    ("S is the key", |ends, sender| {
        encrypted_record(&ends.keys.state(sender, 0), 1, PAYLOAD)
    }),
    ("the key follows from X", |ends, sender| {
        keys_of(ends.x).record(sender, 1, PAYLOAD)
    }),
    ("the key follows from Z", |ends, sender| {
        keys_of(ends.z).record(sender, 1, PAYLOAD)
    }),
    ("the key of the other direction", |ends, sender| {
        ends.keys.record(other(sender), 1, PAYLOAD)
    }),
    ("the key of the next step", |ends, sender| {
        encrypted_record(&ends.keys.key(sender, 1), 1, PAYLOAD)
    }),
    ("mode 1, under X", |ends, sender| {
        record(&ends.x, sender, 1, PAYLOAD)
    }),
    ("mode 1, under Xe", |ends, sender| {
        record(&ends.keys.xe, sender, 1, PAYLOAD)
    }),
    ("no associated data", |ends, sender| {
        with(ends, sender, [&[0; 4], &1_u64.to_be_bytes()], b"")
    }),
    ("the length as little-endian", |ends, sender| {
        with(ends, sender, [&[0; 4], &1_u64.to_be_bytes()], &[9, 0])
    }),
    ("the number as associated data", |ends, sender| {
        let associated = [&1_u64.to_be_bytes()[..], &N].concat();
        with(ends, sender, [&[0; 4], &1_u64.to_be_bytes()], &associated)
    }),
    ("the number as little-endian", |ends, sender| {
        with(ends, sender, [&[0; 4], &1_u64.to_le_bytes()], &N)
    }),
    ("the number in front", |ends, sender| {
        with(ends, sender, [&1_u64.to_be_bytes(), &[0; 4]], &N)
    }),
    ("the number of the record before", |ends, sender| {
        ends.keys.record(sender, 0, PAYLOAD)
    }),
    ("the number of the record behind", |ends, sender| {
        ends.keys.record(sender, 2, PAYLOAD)
    }),
    (
        "a close with the number of the record before",
        |ends, sender| ends.keys.record(sender, 0, b""),
    ),
    (
        "a close with the number of the record behind",
        |ends, sender| ends.keys.record(sender, 2, b""),
    ),
    ("a close in mode 1", |ends, sender| {
        record(&ends.x, sender, 1, b"")
    }),
    ("a close of the other direction", |ends, sender| {
        ends.keys.record(other(sender), 1, b"")
    }),
];

/// Ends of which the sender has sent a record already, which is returned.
fn after_a_record(sender: &str) -> (Ends, Vec<u8>) {
    let mut ends = Ends::new();
    let first = ends.keys.record(sender, 0, b"first");
    let [_, receiver] = ends.from(sender);
    let opened = receiver.opener.open(&mut first.clone()) == Ok(Opened::Data(b"first"));
    assert!(opened, "the record before");
    (ends, first)
}

/// Asserts that the receiver refuses a record, leaves it as it was, and refuses the right record
/// behind it.
#[track_caller]
fn assert_refused(ends: &mut Ends, sender: &str, bad: &[u8], name: &str) {
    let mut right = ends.keys.record(sender, 1, PAYLOAD);
    assert_ne!(bad, right, "{name}");
    let [_, receiver] = ends.from(sender);
    let mut record = bad.to_vec();
    let refused = receiver.opener.open(&mut record).map(drop);
    let expected = match len_of([bad[0], bad[1]]) {
        Ok(len) if len == bad.len() => record::Error::BadTag,
        Ok(_) => record::Error::Length { len: bad.len() },
        Err(error) => error,
    };
    assert_eq!(refused, Err(expected), "{name}, from the {sender}");
    assert_eq!(record, bad, "{name}, from the {sender}");
    let dead = receiver.opener.open(&mut right).map(drop);
    assert_eq!(
        dead,
        Err(record::Error::BadTag),
        "{name}, from the {sender}"
    );
}

#[test]
fn a_record_that_is_made_with_any_one_mistake_ends_the_direction() {
    for sender in SENDERS {
        for (name, mistake) in MISTAKES {
            let (mut ends, _) = after_a_record(sender);
            let bad = mistake(&ends, sender);
            assert_refused(&mut ends, sender, &bad, name);
        }
        // The controls: there is no mistake.
        for payload in [PAYLOAD, b""] {
            let (mut ends, _) = after_a_record(sender);
            let mut record = ends.keys.record(sender, 1, payload);
            let [_, receiver] = ends.from(sender);
            let expected = match payload {
                b"" => Opened::Close,
                data => Opened::Data(data),
            };
            assert_eq!(receiver.opener.open(&mut record), Ok(expected), "{sender}");
        }
    }
}

#[test]
fn a_record_that_is_repeated_or_reflected_ends_the_direction() {
    for sender in SENDERS {
        let (mut ends, first) = after_a_record(sender);
        assert_refused(&mut ends, sender, &first, "repeated");

        let (mut ends, _) = after_a_record(sender);
        let [_, receiver] = ends.from(sender);
        let unsealed = || [&[0; 2], PAYLOAD, &[0; 16]].concat();
        receiver.sealer.seal(&mut unsealed()).unwrap();
        // It has the number that the receiver expects.
        let mut own = unsealed();
        receiver.sealer.seal(&mut own).unwrap();
        assert_refused(&mut ends, sender, &own, "reflected");
    }
}

#[test]
fn any_flipped_bit_of_a_record_ends_the_direction_and_shows_nothing_of_it() {
    for sender in SENDERS {
        let (ends, _) = after_a_record(sender);
        for payload in [PAYLOAD, b""] {
            let right = ends.keys.record(sender, 1, payload);
            for bit in 0..8 * right.len() {
                let mut altered = right.clone();
                altered[bit / 8] ^= 1 << (bit % 8);
                let (mut ends, _) = after_a_record(sender);
                assert_refused(&mut ends, sender, &altered, &format!("bit {bit}"));
            }
            // The announced length agrees with the length.
            let len = u8::try_from(payload.len()).unwrap();
            let longer = [&[0, len + 1], &right[2..], &[0]].concat();
            let (mut ends, _) = after_a_record(sender);
            assert_refused(&mut ends, sender, &longer, "a byte longer");
            if len > 0 {
                let shorter = [&[0, len - 1], &right[2..right.len() - 1]].concat();
                let (mut ends, _) = after_a_record(sender);
                assert_refused(&mut ends, sender, &shorter, "a byte shorter");
            }
        }
    }
}

#[test]
fn a_record_of_16385_bytes_is_refused_though_its_tag_is_right() {
    for sender in SENDERS {
        for (len, accepted) in [(PAYLOAD_MAX, true), (PAYLOAD_MAX + 1, false)] {
            let mut ends = Ends::new();
            let payload = vec![7; len];
            let mut record = ends.keys.record(sender, 0, &payload);
            assert_eq!(record.len(), len + OVERHEAD);
            let [_, receiver] = ends.from(sender);
            let opened = receiver.opener.open(&mut record);
            let expected = if accepted {
                Ok(Opened::Data(&payload))
            } else {
                Err(record::Error::TooLong { len })
            };
            assert!(opened == expected, "{len}");
        }
    }
}

#[test]
fn what_a_session_exports_follows_from_ke_and_from_no_other_secret() {
    let ends = Ends::new();
    for (session, _) in [&ends.client, &ends.server] {
        let follows_from =
            |secret: &[u8]| export(secret, EXPORT_LABEL, b"", 32) == exported(session);
        assert!(follows_from(&ends.keys.ke));
        for other in [ends.x, ends.z, ends.keys.xe] {
            assert!(!follows_from(&other));
        }
    }
}
