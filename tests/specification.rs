//! The smaller examples of PROTOCOL.md, section 11. The handshakes are in `vectors`.

use crate::support::{Schedule, f1, hex, lv, untagged_f2};

/// Returns a part of the worked example, without white space.
fn example(begin: &str, end: &str) -> String {
    let (_, part) = include_str!("../PROTOCOL.md").split_once(begin).unwrap();
    part.split_once(end).unwrap().0.split_whitespace().collect()
}

#[test]
fn the_handshake_with_a_binding_in_the_specification_holds() {
    let text = example("**A binding**", "**A passphrase**");
    let from = |first: u8| (0..32).map(|i| first + i).collect::<Vec<_>>();
    let keys = Schedule::of(hex(&from(0)).as_bytes());
    let binding = [b"tls-exporter:", &from(0xe0)[..]].concat();
    let prologue = [lv(b"billing/2"), lv(&binding)].concat();
    let f1 = f1(0, &from(0xa0));
    let untagged = untagged_f2(0, b"worker-7", &from(0xc0));
    let tc = keys.client_proof(&prologue, &f1, &untagged);
    let f2 = [&untagged[..], &tc].concat();
    for (name, value) in [
        ("binding", &binding[..]),
        ("P", &prologue),
        ("Tc", &tc),
        ("Ts", &keys.acceptance(&prologue, &f1, &f2)[1..]),
        ("X", &keys.session_with(b"", &prologue, &f1, &f2)),
    ] {
        assert!(text.contains(&format!("{name}{}", hex(value))), "{name}");
    }
}

#[cfg(feature = "passphrase")]
#[test]
fn the_passphrase_in_the_specification_makes_its_secret() {
    let text = example("**A passphrase**", "**Mode 2**");
    let salt = [&b"countersign/1 passphrase"[..], &lv(b"laptop-3")].concat();
    assert!(text.contains(&format!("salt{}", hex(&salt))));
    let (_, secret) = text.split_once("secret(text)").unwrap();
    let written = countersign::Key::new(&secret[..64]).unwrap();
    let derived = countersign::Key::from_passphrase("correct horse battery staple", "laptop-3");
    let fingerprint = derived.unwrap().fingerprint();
    assert_eq!(fingerprint, written.fingerprint());
    assert!(text.contains(&format!("fingerprint{fingerprint}")));
}
