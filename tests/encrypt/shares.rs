//! Shares that no honest end sends, and the modes of messages.

use countersign::KeyId;
use countersign::handshake::{Encrypt, Error, Incompatible, Protect, Refusal};

use super::{
    CLIENT_PRIVATE, Outcome, SERVER_NONCE, SERVER_PRIVATE, client_that_receives, proved, schedule,
    server_that_receives,
};
use crate::support::{
    BASE_POINT, EXPORT_LABEL, Exchanged, NO_PROLOGUE, Pair, deliver, denial, export, exported, f1,
    key, untagged_f2, wrong_proof, x25519,
};

/// `p = 2^255 - 19`, and `add` more, which is at most 18.
fn p_and(add: u8) -> [u8; 32] {
    let mut number = [0xff; 32];
    (number[0], number[31]) = (0xed + add, 0x7f);
    number
}

/// A share with bit 255 set, which X25519 ignores.
fn with_bit_255(mut share: [u8; 32]) -> [u8; 32] {
    share[31] |= 0x80;
    share
}

/// The u-coordinates of the points of small order, with every way to write them.
fn shares_of_small_order() -> Vec<[u8; 32]> {
    let number = |low| {
        let mut number = [0; 32];
        number[0] = low;
        number
    };
    let mut p_minus_1 = p_and(0);
    p_minus_1[0] -= 1;
    let shares = [
        number(0),
        number(1),
        p_minus_1,
        p_and(0),
        p_and(1),
        // The two points of order 8.
        [
            0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f,
            0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16,
            0x5f, 0x49, 0xb8, 0x00,
        ],
        [
            0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83,
            0xef, 0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd,
            0xd0, 0x9f, 0x11, 0x57,
        ],
    ];
    let shares = shares.into_iter();
    shares
        .flat_map(|share| [share, with_bit_255(share)])
        .collect()
}

#[test]
fn a_share_that_makes_an_all_zero_secret_is_refused_by_either_end_though_its_proof_is_right() {
    for share in shares_of_small_order() {
        assert_eq!(x25519(SERVER_PRIVATE, share), [0; 32], "{share:02x?}");

        let (at_client, _, _) = client_that_receives(share);
        assert_eq!(at_client.err(), Some(Error::AllZeroSecret), "{share:02x?}");

        let (at_server, verdict, _) = server_that_receives(share);
        let expected = Error::ClientNotAuthentic {
            key_id: KeyId::EMPTY,
            refusal: Refusal::AllZeroSecret,
        };
        assert_eq!(at_server.err(), Some(expected), "{share:02x?}");
        assert_eq!(verdict.as_ref(), denial(2), "{share:02x?}");
    }
}

#[test]
fn a_share_that_makes_an_all_zero_secret_is_not_looked_at_under_a_wrong_proof() {
    for share in shares_of_small_order() {
        let pair = Pair::of(&key("a"));
        let (f1, server) = pair.server_in(Encrypt);
        let mut f2 = proved(f1.as_ref(), &untagged_f2(2, b"", &share));
        *f2.last_mut().unwrap() ^= 1;
        let (verdict, end) = pair.verdict(server, &f2);
        assert_eq!(end.refusal(), Some(wrong_proof(b"")), "{share:02x?}");
        assert_eq!(verdict.as_ref(), denial(2), "{share:02x?}");

        let client = pair.client_after_in(Encrypt, f1.as_ref());
        let mut f3 =
            schedule().acceptance_with(&share, NO_PROLOGUE, f1.as_ref(), client.response());
        *f3.last_mut().unwrap() ^= 1;
        let refused = deliver(client, &f3).map(drop);
        assert_eq!(refused, Err(Error::ServerNotAuthentic), "{share:02x?}");
    }
}

/// Asserts that this end has the session that follows from X and Z.
#[track_caller]
fn assert_agrees(outcome: Outcome, x: &[u8; 32], z: &[u8; 32]) {
    let (session, _) = outcome.unwrap();
    let expected = export(&Exchanged::of(x, z).ke, EXPORT_LABEL, b"", 32);
    assert_eq!(exported(&session)[..], expected);
}

#[test]
fn a_share_is_used_as_it_was_sent_neither_masked_nor_reduced() {
    let share = x25519([7; 32], BASE_POINT);
    // Each pair is one point, and so makes one Z.
    for ways in [
        [share, with_bit_255(share)],
        [BASE_POINT, p_and(9)],
        [p_and(9), with_bit_255(p_and(9))],
    ] {
        let mut seen = Vec::new();
        for share in ways {
            let z = x25519(CLIENT_PRIVATE, share);
            let (outcome, f3, x) = client_that_receives(share);
            assert_agrees(outcome, &x, &z);
            let ts = f3[33..].to_vec();

            let z_of_server = x25519(SERVER_PRIVATE, share);
            let (outcome, verdict, x) = server_that_receives(share);
            assert_agrees(outcome, &x, &z_of_server);
            seen.push(([z, z_of_server], [ts, verdict.as_ref()[33..].to_vec()]));
        }
        let [(one_z, one_tags), (other_z, other_tags)] = &seen[..] else {
            unreachable!("a point is sent in two ways");
        };
        assert_eq!(one_z, other_z);
        assert!(
            one_tags
                .iter()
                .zip(other_tags)
                .all(|(one, other)| one != other)
        );
    }
}

#[test]
fn a_server_proof_that_leaves_out_the_share_is_refused() {
    let f1 = f1(2, &SERVER_NONCE);
    let client = || Pair::of(&key("a")).client_after_in(Encrypt, &f1);
    let f2 = client().response().to_vec();
    let share = x25519(SERVER_PRIVATE, BASE_POINT);
    let proved = schedule().acceptance_with(&share, NO_PROLOGUE, &f1, &f2);
    let without = schedule().acceptance(NO_PROLOGUE, &f1, &f2);
    for (name, f3, accepted) in [
        ("the control", proved.clone(), true),
        (
            "Ts of \"A\"",
            [b"A", &share[..], &without[1..]].concat(),
            false,
        ),
        (
            "the share behind Ts",
            [&without[..], &share].concat(),
            false,
        ),
        (
            "the share of another",
            {
                let mut altered = proved;
                altered[1..33].copy_from_slice(&x25519([7; 32], BASE_POINT));
                altered
            },
            false,
        ),
    ] {
        let refused = deliver(client(), &f3).map(drop);
        let expected = if accepted {
            Ok(())
        } else {
            Err(Error::ServerNotAuthentic)
        };
        assert_eq!(refused, expected, "{name}");
    }
}

#[test]
fn messages_of_different_modes_are_refused_though_their_proofs_are_right() {
    let pair = Pair::of(&key("a"));
    let mode = |ours, theirs| Some(Incompatible::Mode { ours, theirs }.into());
    let nonce = x25519([7; 32], BASE_POINT);
    for theirs in [0, 1, 3, 0xff] {
        let (f1, server) = pair.server_in(Encrypt);
        let f2 = proved(f1.as_ref(), &untagged_f2(theirs, b"", &nonce));
        assert_eq!(deliver(server, &f2).err(), mode(2, theirs));
        let f1 = super::f1(theirs, &SERVER_NONCE);
        assert_eq!(deliver(pair.client_in(Encrypt), &f1).err(), mode(2, theirs));
    }
    let (f1, server) = pair.server_in(Protect);
    let f2 = proved(f1.as_ref(), &untagged_f2(2, b"", &nonce));
    assert_eq!(deliver(server, &f2).err(), mode(1, 2));

    // The control: the mode of F1.
    let (f1, server) = pair.server_in(Encrypt);
    let f2 = proved(f1.as_ref(), &untagged_f2(2, b"", &nonce));
    assert!(pair.verdict(server, &f2).1.is_accepted());
}
