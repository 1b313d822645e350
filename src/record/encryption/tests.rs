//! Known answers of NIST, and where a step begins.

use super::*;
use crate::mac::tests::bytes;

/// A case of `gcmEncryptExtIV256.rsp` of NIST's test vectors for GCM (CAVS 14.0), in hexadecimal.
struct Case {
    key: &'static str,
    nonce: &'static str,
    plaintext: &'static str,
    associated: &'static str,
    ciphertext: &'static str,
    tag: &'static str,
}

/// For some lengths of the plaintext and of the associated data, the first case that has them.
const NIST: [Case; 6] = [
    Case {
        key: "78dc4e0aaf52d935c3c01eea57428f00ca1fd475f5da86a49c8dd73d68c8e223",
        nonce: "d79cf22d504cc793c3fb6c8a",
        plaintext: "",
        associated: "b96baa8c1c75a671bfb2d08d06be5f36",
        ciphertext: "",
        tag: "3e5d486aa2e30b22e040b85723a06e76",
    },
    Case {
        key: "31bdadd96698c204aa9ce1448ea94ae1fb4a9a0b3c9d773b51bb1822666b8f22",
        nonce: "0d18e06c7c725ac9e362e1ce",
        plaintext: "2db5168e932556f8089a0622981d017d",
        associated: "",
        ciphertext: "fa4362189661d163fcd6a56d8bf0405a",
        tag: "d636ac1bbedd5cc3ee727dc2ab4a9489",
    },
    Case {
        key: "e4fed339c7b0cd267305d11ab0d5c3273632e8872d35bdc367a1363438239a35",
        nonce: "0365882cf75432cfd23cbd42",
        plaintext: "fff39a087de39a03919fbd2f2fa5f513",
        associated: "8a97d2af5d41160ac2ff7dd8ba098e7aa4d618f0f455957d6a6d0801796747ba57c32dfbaaaf1517\
            6528fe3a0e4550c9",
        ciphertext: "8d9e68f03f7e5f4a0ffaa7650d026d08",
        tag: "3554542c478c0635285a61d1b51f6afa",
    },
    Case {
        key: "69b458f2644af9020463b40ee503cdf083d693815e2659051ae0d039e606a970",
        nonce: "8d1da8ab5f91ccd09205944b",
        plaintext: "f3e0e09224256bf21a83a5de8d",
        associated: "036ad5e5494ef817a8af2f5828784a4bfedd1653",
        ciphertext: "c0a62d77e6031bfdc6b13ae217",
        tag: "a794a9aaee48cd92e47761bf1baff0af",
    },
    Case {
        key: "37ccdba1d929d6436c16bba5b5ff34deec88ed7df3d15d0f4ddf80c0c731ee1f",
        nonce: "5c1b21c8998ed6299006d3f9",
        plaintext: "ad4260e3cdc76bcc10c7b2c06b80b3be948258e5ef20c508a81f51e96a518388",
        associated: "22ed235946235a85a45bc5fad7140bfa",
        ciphertext: "3b335f8b08d33ccdcad228a74700f1007542a4d1e7fc1ebe3f447fe71af29816",
        tag: "1fbf49cc46f458bf6e88f6370975e6d4",
    },
    Case {
        key: "148579a3cbca86d5520d66c0ec71ca5f7e41ba78e56dc6eebd566fed547fe691",
        nonce: "b08a5ea1927499c6ecbfd4e0",
        plaintext: "9d0b15fdf1bd595f91f8b3abc0f7dec927dfd4799935a1795d9ce00c9b879434420fe42c275a7cd7\
            b39d638fb81ca52b49dc41",
        associated: "e4f963f015ffbb99ee3349bbaf7e8e8e6c2a71c230a48f9d59860a29091d2747e01a5ca572347e24\
            7d25f56ba7ae8e05cde2be3c97931292c02370208ecd097ef692687fecf2f419d3200162a6480a57\
            dad408a0dfeb492e2c5d",
        ciphertext: "2097e372950a5e9383c675e89eea1c314f999159f5611344b298cda45e62843716f215f82ee66391\
            9c64002a5c198d7878fd3f",
        tag: "adbecdb0d5c2224d804d2886ff9a5760",
    },
];

#[test]
fn the_known_answers_of_nist_are_sealed_and_opened() {
    for case in NIST {
        let (nonce, associated) = (bytes(case.nonce), bytes(case.associated));
        let (key, tag) = (bytes(case.key), bytes(case.tag));
        let (Some(key), Some(nonce)) = (key.first_chunk(), nonce.first_chunk()) else {
            unreachable!("the cases have keys of 256 bits and nonces of 96");
        };
        let cipher = Cipher::new(key);
        let mut payload = bytes(case.plaintext);

        let sealed = cipher.seal(nonce, &associated, &mut payload);
        let Ok(made) = sealed else {
            unreachable!("the lengths are in bounds");
        };
        assert_eq!(payload, bytes(case.ciphertext));
        assert_eq!(made[..], tag);

        for bit in 0..128 {
            let mut altered = made;
            for (at, byte) in altered.iter_mut().enumerate() {
                *byte ^= u8::from(bit / 8 == at) << (bit % 8);
            }
            let opened = cipher.open(nonce, &associated, &mut payload, &altered);
            assert!(opened.is_err(), "bit {bit} of {}", case.tag);
            assert_eq!(payload, bytes(case.ciphertext), "bit {bit} of {}", case.tag);
        }
        assert!(cipher.open(nonce, &associated, &mut payload, &made).is_ok());
        assert_eq!(payload, bytes(case.plaintext));
    }
}

#[test]
fn a_step_begins_with_every_65536th_record_and_with_no_other() -> Result<(), Error> {
    // What a record with the same number and payload is, before and after the next one is prepared.
    let sealed = |encryption: &Encryption| {
        let mut payload = *b"payload";
        let tag = encryption.seal(7, [0, 7], &mut payload)?;
        Ok::<_, Error>((payload, tag))
    };
    for (seq, begins) in [
        (1, false),
        (65_535, false),
        (65_536, true),
        (65_537, false),
        (131_071, false),
        (131_072, true),
        (1 << 32, true),
        (u64::MAX - 65_536, false),
        (u64::MAX - 65_535, true),
        (u64::MAX, false),
    ] {
        let mut encryption = Encryption::new(MacKey::new(b"the state of a step"));
        let before = sealed(&encryption)?;
        encryption.advance(seq);
        let after = sealed(&encryption)?;
        assert_eq!(before != after, begins, "{seq}");
        // Each step has another key.
        encryption.advance(65_536);
        assert!(![before, after].contains(&sealed(&encryption)?), "{seq}");
    }
    Ok(())
}
