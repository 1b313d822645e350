//! Known answers of RFC 7748.

use super::*;
use crate::mac::tests::bytes;

/// Section 5.2: scalar, u-coordinate and output. The second u-coordinate has bit 255 set, which is
/// ignored.
const MULTIPLICATIONS: [[&str; 3]; 2] = [
    [
        "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
        "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
        "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
    ],
    [
        "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
        "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
        "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
    ],
];

/// Section 5.2: how often the function was applied to its own output, and the output.
const ITERATED: [(usize, &str); 2] = [
    (
        1,
        "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079",
    ),
    (
        1000,
        "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51",
    ),
];

/// Section 6.1: the private keys of Alice and Bob, their shares, and their shared secret.
const ALICE: [&str; 2] = [
    "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
    "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
];
const BOB: [&str; 2] = [
    "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
    "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
];
const AGREED: &str = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";

#[test]
fn the_multiplications_of_rfc_7748_agree() {
    for [scalar, u, output] in MULTIPLICATIONS {
        assert_eq!(agreed(array(scalar), array(u)), Some(array(output)));
    }
}

#[test]
fn the_iterated_multiplication_of_rfc_7748_agrees() {
    let base = array("0900000000000000000000000000000000000000000000000000000000000000");
    let (mut scalar, mut u, mut applied) = (base, base, 0);
    for (times, output) in ITERATED {
        while applied < times {
            let next = agreed(scalar, u);
            (u, scalar) = (scalar, next.unwrap_or_default());
            applied += 1;
        }
        assert_eq!(scalar, array(output), "{times}");
    }
}

#[test]
fn alice_and_bob_of_rfc_7748_agree() {
    for ([private, share], [_, other_share]) in [(ALICE, BOB), (BOB, ALICE)] {
        assert_eq!(PrivateKey::take(&mut array(private)).share(), array(share));
        let agreed = agreed(array(private), array(other_share));
        assert_eq!(agreed, Some(array(AGREED)));
    }
}

#[test]
fn the_bytes_that_a_private_key_is_made_of_are_wiped() {
    let mut random = array(ALICE[0]);
    let _key = PrivateKey::take(&mut random);
    assert_eq!(random, [0; SHARE_LEN]);
}

fn agreed(mut private: [u8; SHARE_LEN], share: [u8; SHARE_LEN]) -> Option<[u8; SHARE_LEN]> {
    let agreed = PrivateKey::take(&mut private).agree(share);
    agreed.map(|agreed| *agreed.as_bytes())
}

fn array(digits: &str) -> [u8; SHARE_LEN] {
    (bytes(digits).first_chunk().copied()).unwrap_or_default()
}
