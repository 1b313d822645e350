//! Secrets that are alike, and members of a group who know a secret.

use countersign::handshake::{Error, Message};
use countersign::{InvalidInput, Key};
use sha2::{Digest as _, Sha256};

use crate::support::{NO_PROLOGUE, Pair, Schedule, hmac, key, secret};

/// Bytes that are not all equal.
fn bytes(len: usize) -> Vec<u8> {
    (0..=u8::MAX).cycle().take(len).collect()
}

#[test]
fn a_secret_is_refused_if_it_is_short_or_constant() {
    for len in [0, 1, 15] {
        let error = Key::new(bytes(len)).unwrap_err();
        assert_eq!(error, InvalidInput::SecretTooShort { len });
    }
    for (byte, len) in [(0, 16), (0xff, 32), (b'a', 1000)] {
        let constant = vec![byte; len];
        let error = Key::new(&constant).unwrap_err();
        assert_eq!(error, InvalidInput::SecretConstant { len });
        // One other byte, wherever it is, is enough.
        for at in [0, len / 2, len - 1] {
            let mut secret = constant.clone();
            secret[at] ^= 1;
            assert!(Key::new(&secret).is_ok(), "{byte} {len} {at}");
        }
    }
}

#[test]
fn secrets_that_are_one_hmac_key_do_not_authenticate_to_each_other() {
    let lens = [16, 63, 64, 65, 1000];
    for secret in lens.map(bytes) {
        let own = Key::new(&secret).unwrap();
        Pair::of(&own).run().assert_accepted();

        let mut extended = secret.clone();
        extended.push(0);
        // HMAC pads a key that is shorter than its block with zeros, and hashes a longer one.
        let as_key = |secret| hmac(secret, b"message");
        assert_eq!(as_key(&secret) == as_key(&extended), secret.len() < 64);
        let hashed = Sha256::digest(&secret).to_vec();
        assert_eq!(as_key(&secret) == as_key(&hashed), secret.len() > 64);

        for other in [&extended[..], &hashed] {
            let other = Key::new(other).unwrap();
            Pair::between(&own, &other).run().assert_denied(b"");
            Pair::between(&other, &own).run().assert_denied(b"");
        }
    }
}

#[test]
fn the_holder_of_a_child_secret_is_neither_another_child_nor_the_server() {
    let parent = key("parent");
    let [secret_a, secret_b] = ["a", "b"].map(|id| parent.child_secret(id).unwrap());
    let child_b = Key::new(&secret_b).unwrap().with_id("b").unwrap();

    let as_another = Key::new(&secret_a).unwrap().with_id("b").unwrap();
    Pair::between(&as_another, &child_b)
        .run()
        .assert_denied(b"b");

    let to_another = Pair::of(&child_b);
    let honest = to_another.run();
    honest.assert_accepted();
    let [f1, f2, _] = honest.messages();
    let forged = Schedule::of(secret_a.as_ref()).acceptance(NO_PROLOGUE, f1, f2);
    let run = to_another.run_with(Message::VERDICT, &forged);
    assert_eq!(run.client.refusal(), Some(Error::ServerNotAuthentic));
    // The same forgery is a verdict for an end that shares the secret it was made with.
    let forged = Schedule::of(secret_b.as_ref()).acceptance(NO_PROLOGUE, f1, f2);
    let run = to_another.run_with(Message::VERDICT, &forged);
    run.assert_accepted();
}

#[test]
fn the_holder_of_a_group_secret_can_pose_as_the_server() {
    let member = key("group").with_id("b").unwrap();
    let pair = Pair::between(&member, &key("group"));
    let honest = pair.run();
    honest.assert_accepted();
    let [f1, f2, _] = honest.messages();
    let forged = Schedule::of(&secret("group")).acceptance(NO_PROLOGUE, f1, f2);
    let run = pair.run_with(Message::VERDICT, &forged);
    run.assert_accepted();
}

#[test]
fn a_parent_secret_and_its_child_do_not_authenticate_to_each_other() {
    let parent = key("parent").with_id("a").unwrap();
    let child = Key::new(parent.child_secret("a").unwrap()).unwrap();
    let child = child.with_id("a").unwrap();
    for [client_key, server_key] in [[&parent, &child], [&child, &parent]] {
        Pair::between(client_key, server_key)
            .run()
            .assert_denied(b"a");
    }
}
