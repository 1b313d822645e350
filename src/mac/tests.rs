//! Known answers of the standards, and the lengths at which block functions go wrong, through
//! the functions that make and verify proofs.

use std::vec;
use std::vec::Vec;

use hmac::{Hmac, Mac};

use super::*;

/// A test case of RFC 4231, section 4, of which the tag may be given in part.
struct Case {
    key: &'static [u8],
    message: &'static [u8],
    tag: &'static str,
}

const RFC_4231: [Case; 7] = [
    Case {
        key: &[0x0b; 20],
        message: b"Hi There",
        tag: "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
    },
    Case {
        key: b"Jefe",
        message: b"what do ya want for nothing?",
        tag: "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    },
    Case {
        key: &[0xaa; 20],
        message: &[0xdd; 50],
        tag: "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
    },
    Case {
        key: &[
            1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24,
            25,
        ],
        message: &[0xcd; 50],
        tag: "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
    },
    // The one whose tag is truncated, to the 16 bytes that a record has.
    Case {
        key: &[0x0c; 20],
        message: b"Test With Truncation",
        tag: "a3b6167473100ee06e0c796c2955552b",
    },
    Case {
        key: &[0xaa; 131],
        message: b"Test Using Larger Than Block-Size Key - Hash Key First",
        tag: "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    },
    Case {
        key: &[0xaa; 131],
        message: b"This is a test using a larger than block-size key and a larger than \
                   block-size data. The key needs to be hashed before being used by the HMAC \
                   algorithm.",
        tag: "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    },
];

/// The test cases 1 to 3 of RFC 5869, appendix A: IKM, salt, info and OKM.
const RFC_5869: [[&str; 4]; 3] = [
    [
        "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
        "000102030405060708090a0b0c",
        "f0f1f2f3f4f5f6f7f8f9",
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ],
    [
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\
         202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f\
         404142434445464748494a4b4c4d4e4f",
        "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f\
         808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f\
         a0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
        "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecf\
         d0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeef\
         f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c\
         59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71\
         cc30c58179ec3e87c14c01d5c1f3434f1d87",
    ],
    [
        "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
        "",
        "",
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    ],
];

#[test]
fn the_tags_of_rfc_4231_are_made_and_verified() {
    for Case { key, message, tag } in RFC_4231 {
        let expected = bytes(tag);
        let key = MacKey::new(key);
        let made = key.tag(message);
        assert!(made.0.starts_with(&expected), "{tag}");
        if let Some(whole) = expected.first_chunk() {
            assert!(bool::from(made.matches(whole)), "{tag}");
        }
        let half = expected.first_chunk().map(|half| made.begins_with(half));
        assert_eq!(half.map(bool::from), Some(true), "{tag}");
        for at in 0..=message.len() {
            let (prefix, payload) = message.split_at(at);
            let in_parts = key.tag_of([prefix, payload]);
            assert_eq!(in_parts.0, made.0, "{tag}, cut at {at}");
        }
    }
}

#[test]
fn the_keys_of_rfc_5869_are_extracted_and_expanded() {
    for [ikm, salt, info, okm] in RFC_5869 {
        let expected = bytes(okm);
        let prk = MacKey::extract(&bytes(salt), &bytes(ikm));
        let info = bytes(info);
        let mut made = vec![0; expected.len()];
        prk.expand(&[&info], &mut made);
        assert_eq!(made, expected, "{okm}");
        let (head, tail) = info.split_at(info.len() / 2);
        prk.expand(&[head, &[], tail], &mut made);
        assert_eq!(made, expected, "{okm}, of an info in parts");
    }
}

/// The first two test cases of RFC 4231 and of RFC 2202, section 2.
#[cfg(feature = "multiprocessing-md5")]
#[test]
fn the_digests_of_other_wires_are_those_of_their_standards() {
    let cases: [(&[u8], &[u8], &str); 2] = [
        (
            &[0x0b; 20],
            b"Hi There",
            "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59c\
             faea9ea9076ede7f4af152e8b2fa9cb6",
        ),
        (
            b"Jefe",
            b"what do ya want for nothing?",
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e\
             8e2240ca5e69e2c78b3239ecfab21649",
        ),
    ];
    for (key, message, digest) in cases {
        assert_eq!(hmac_sha384(key, message).as_slice(), bytes(digest));
    }
    let cases: [(&[u8], &[u8], &str); 2] = [
        (&[0x0b; 16], b"Hi There", "9294727a3638bb1c13f48ef8158bfc9d"),
        (
            b"Jefe",
            b"what do ya want for nothing?",
            "750c783e6ab0b503eaa86e310a5db738",
        ),
    ];
    for (key, message, digest) in cases {
        assert_eq!(hmac_md5(key, message).as_slice(), bytes(digest));
    }
    assert!(bool::from(digests_equal(b"ab", b"ab")));
    for other in [&b"aa"[..], b"bb", b"a", b"abb", b""] {
        assert!(!bool::from(digests_equal(b"ab", other)));
    }
}

/// Around the 64 bytes of a block and the 56 that leave room for the length of the message.
#[test]
fn keys_and_messages_of_every_length_up_to_four_blocks_give_what_hmac_gives() {
    let bytes: Vec<u8> = (0..=u8::MAX).chain(0..=2).collect();
    let lens = 0..bytes.len();
    let around = [0, 1, 31, 32, 55, 56, 63, 64, 65, 119, 120, 127, 128, 129];
    let every_key = lens
        .clone()
        .flat_map(|key| around.map(|message| (key, message)));
    let every_message = lens.flat_map(|message| around.map(|key| (key, message)));
    for (key_len, message_len) in every_key.chain(every_message) {
        let (key, message) = (bytes.get(..key_len), bytes.get(..message_len));
        let (Some(key), Some(message)) = (key, message) else {
            unreachable!("they are as long as the lengths go");
        };
        let expected = Hmac::<Sha256>::new_from_slice(key)
            .map(|mac| mac.chain_update(message).finalize().into_bytes());
        let made = MacKey::new(key).tag(message);
        assert_eq!(
            expected.map(Into::into),
            Ok(made.0),
            "{key_len}, {message_len}"
        );
    }
}

#[test]
fn a_tag_matches_itself_and_no_tag_that_differs_in_any_bits() {
    let key = MacKey::new(b"a key");
    let tag = key.tag(b"a message");
    let verifies = |received: [u8; TAG_LEN]| {
        let half = received.first_chunk().map(|half| tag.begins_with(half));
        (bool::from(tag.matches(&received)), half.map(bool::from))
    };
    assert_eq!(verifies(tag.0), (true, Some(true)));
    for bit in 0..8 * TAG_LEN {
        for another in bit..8 * TAG_LEN {
            let mut received = tag.0;
            for (at, byte) in received.iter_mut().enumerate() {
                // One bit where the two are the same.
                let flips = [bit, another].map(|bit| u8::from(bit / 8 == at) << (bit % 8));
                *byte ^= flips[0] | flips[1];
            }
            let half = bit >= 8 * TAG_LEN / 2;
            assert_eq!(verifies(received), (false, Some(half)), "{bit}, {another}");
        }
    }
    for other in [[0; TAG_LEN], [0xff; TAG_LEN], tag.0.map(|byte| !byte)] {
        assert_eq!(verifies(other), (false, Some(false)));
    }
}

/// Returns the bytes of hexadecimal digits.
pub(crate) fn bytes(digits: &str) -> Vec<u8> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    assert!(rest.is_empty(), "{digits}");
    let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    (pairs.iter().map(byte).collect::<Option<_>>()).unwrap_or_default()
}
