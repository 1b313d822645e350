//! The lengths of a record, and which handshakes yield records.

use std::io::ErrorKind;

use countersign::Session;
#[cfg(feature = "encrypt")]
use countersign::handshake::Encrypt;
use countersign::handshake::{Authenticate, Mode, Protect};
#[cfg(feature = "encrypt")]
use countersign::record::Encryption;
use countersign::record::{self, Integrity, PAYLOAD_MAX, Records};

use super::ends::{Ends, RECORD_MAX, failed, opened, pattern, sealed, session};
use super::via::{AnyRecords, Kind, Via};
use crate::side::Side;
use crate::support::Act;

#[test]
fn a_payload_may_have_1_to_16384_bytes_and_a_longer_one_is_refused_at_its_header() {
    for via in Via::all() {
        for side in Side::BOTH {
            let mut ends = Ends::new(via, side);
            for len in [1, PAYLOAD_MAX] {
                let payload = pattern(len);
                let record = sealed(&mut *ends.sealer, &payload);
                ends.say(&record, usize::MAX, Act::Fail(ErrorKind::WouldBlock));
                let (received, waiting) = ends.near.read_to_end(100_000);
                assert!(received == payload, "{via:?}, {side:?}, {len}");
                assert_eq!(waiting.unwrap_err().kind(), ErrorKind::WouldBlock);
            }
        }
        for len in [16_385_u16, 65_535] {
            let mut ends = Ends::new(via, Side::Client);
            // A stream that tried to read more would fail with `WouldBlock`.
            let header = len.to_be_bytes();
            ends.say(&header, usize::MAX, Act::Fail(ErrorKind::WouldBlock));
            for _ in 0..2 {
                let refused = failed(ends.near.read(&mut [0; 100]));
                let len = usize::from(len);
                assert_eq!(refused, record::Error::TooLong { len }, "{via:?}");
            }
            assert_eq!(ends.line.wire().offered.len(), 1, "{via:?}");
            if !via.is_core() {
                assert_eq!(failed(ends.near.write(b"x")), record::Error::BadTag);
            }
        }
    }
}

#[test]
fn the_core_refuses_a_buffer_of_the_wrong_length() {
    for &kind in Kind::ALL {
        refuses_wrong_lengths(kind);
    }
}

fn refuses_wrong_lengths(kind: Kind) {
    let [client, server] = session(kind);
    let (mut sealer, mut clients_opener) = (client.sealer, client.opener);
    let (mut servers_sealer, mut opener) = (server.sealer, server.opener);

    // These seal nothing and use no sequence number.
    for len in [0, 1, 17, 18, RECORD_MAX + 1] {
        let mut record = vec![7; len];
        let refused = sealer.seal(&mut record);
        assert_eq!(refused, Err(record::Error::Length { len }));
        assert_eq!(record, vec![7; len]);
    }
    let good = sealed(&mut *sealer, b"good");
    assert_eq!(opened(&mut *opener, &good), b"good");

    for wrong in [
        &[][..],
        &[0],
        &[0; 17],
        &[0; 19],
        &good[1..],
        &good[..good.len() - 1],
    ] {
        let [_, AnyRecords { mut opener, .. }] = session(kind);
        let len = wrong.len();
        let mut record = wrong.to_vec();
        let refused = opener.open(&mut record);
        let too_long = (good[1..].first_chunk()).map(|first| u16::from_be_bytes(*first).into());
        assert!(
            matches!(refused, Err(record::Error::Length { len: l }) if l == len)
                || too_long.is_some_and(|len| refused == Err(record::Error::TooLong { len })),
            "{refused:?}",
        );
        assert_eq!(opener.open(&mut wrong.to_vec()), Err(record::Error::BadTag));
    }

    // A good record after a bad one.
    let (bad, good) = (
        sealed(&mut *servers_sealer, b"bad"),
        sealed(&mut *servers_sealer, b"good"),
    );
    let mut altered = bad.clone();
    altered[2] ^= 1;
    for record in [&altered, &bad, &good, &bad] {
        assert_eq!(
            clients_opener.open(&mut record.clone()),
            Err(record::Error::BadTag)
        );
    }
}

#[test]
fn a_handshake_yields_its_records_once_and_only_in_modes_1_and_2() {
    fn yields<T, M: Mode<Established = T>>() {}

    // By value, and neither a session nor records can be cloned.
    yields::<Session, Authenticate>();
    yields::<(Session, Records<Integrity>), Protect>();
    #[cfg(feature = "encrypt")]
    yields::<(Session, Records<Encryption>), Encrypt>();
}
