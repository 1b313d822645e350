//! Vectors that the crate makes.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use rand::TryRng;
use rand::rngs::SysRng;

use super::{Derived, End, Exchange, pair};
use crate::support::hex;

/// Returns vectors that the crate makes from random inputs in these modes, for other implementations
/// to check. What cannot be seen from outside the crate is computed without it.
pub fn made_by_the_crate(modes: RangeInclusive<u8>) -> String {
    let mut text = String::new();
    let cases = [
        (16, 0, 0, 0, false),
        (32, 64, 255, 1, false),
        (65, 1, 9, 1, false),
        (1000, 33, 17, 0, false),
        (64, 8, 9, 0, true),
        #[cfg(feature = "encrypt")]
        (32, 64, 255, 2, false),
        #[cfg(feature = "encrypt")]
        (64, 0, 0, 2, true),
    ];
    let cases = cases
        .into_iter()
        .filter(|(_, _, _, mode, _)| modes.contains(mode));
    for (secret, key_id, service, mode, is_accepted) in cases {
        let end = End {
            secret: random(secret),
            accepted: None,
            service: random(service),
            binding: Vec::new(),
        };
        let mut server = end.clone();
        if is_accepted {
            server.accepted = Some(std::mem::replace(&mut server.secret, random(secret)));
        }
        let exchange = Exchange {
            mode,
            key_id: random(key_id),
            server_nonce: random(32).try_into().unwrap(),
            client_random: random(32).try_into().unwrap(),
            server_private: (mode == 2).then(|| random(32).try_into().unwrap()),
        };
        let derived = Derived::new(&end, &exchange);
        let pair = pair(&end, &server, &exchange).unwrap();
        let key = &pair.client_key;
        let run = pair.run_in_mode(mode);
        let [f1, f2, f3] = run.messages().map(hex);
        let [(client, clients), (_, servers)] = run.established();
        let mut output = [0; 77];
        let (label, context, child) = (random(255), random(300), random(64));
        client.export(&label, &context, &mut output).unwrap();

        let mut field = |name: &str, value: &str| writeln!(text, "{name}: {value}").unwrap();
        field(
            "name",
            &format!("made by the crate, of a secret of {secret} bytes"),
        );
        field("expect", "accepted");
        field("secret", &hex(&server.secret));
        if let Some(accepted) = &server.accepted {
            field("accepted-secret", &hex(accepted));
            field("client-secret", &hex(&end.secret));
        }
        field("key-id", &hex(&exchange.key_id));
        field("service", &hex(&end.service));
        field("binding", "");
        field("mode", &hex(&[mode]));
        field("server-nonce", &hex(&exchange.server_nonce));
        match exchange.server_private {
            None => field("client-nonce", &hex(&exchange.client_random)),
            Some(private) => {
                field("client-private", &hex(&exchange.client_random));
                field("server-private", &hex(&private));
                field("client-share", &hex(&exchange.client_nonce()));
                field("server-share", &hex(&exchange.server_share()));
            }
        }
        field("prk", &hex(&derived.keys.prk));
        field("kc", &hex(&derived.keys.kc));
        field("ks", &hex(&derived.keys.ks));
        field("kx", &hex(&derived.keys.kx));
        field("fingerprint", &key.fingerprint().to_string());
        field("prologue", &hex(&derived.prologue));
        field("f1", &f1);
        field("f2-untagged", &hex(&derived.untagged));
        field("tc", &hex(&derived.tc));
        field("f2", &f2);
        field("f3", &f3);
        if is_accepted {
            field("matched", "second");
        }
        field("ts", &hex(derived.ts()));
        field("x", &hex(&derived.x));
        field("export-label", &hex(&label));
        field("export-context", &hex(&context));
        field("export-length", "77");
        field("export-output", &hex(&output));
        if let Some(agreed) = &derived.exchanged {
            field("z", &hex(&agreed.z));
            field("xe", &hex(&agreed.keys.xe));
            field("ke", &hex(&agreed.keys.ke));
            for direction in ["client", "server"] {
                let (state, key) = (
                    agreed.keys.state(direction, 0),
                    agreed.keys.key(direction, 0),
                );
                field(&format!("state-{direction}-0"), &hex(&state));
                field(&format!("key-{direction}-0"), &hex(&key));
            }
        } else if mode == 1 {
            field("krc", &hex(&derived.record_key("client")));
            field("krs", &hex(&derived.record_key("server")));
        }
        for (direction, records) in [("client", clients), ("server", servers)] {
            let Some(mut records) = records else { continue };
            for (seq, len) in [1, 16_384, 100].into_iter().enumerate() {
                let payload = random(len);
                let record = records.seal(&payload);
                field(&format!("record-{direction}-payload-{seq}"), &hex(&payload));
                field(&format!("record-{direction}-{seq}"), &hex(&record));
            }
            field(&format!("record-{direction}-close"), &hex(&records.close()));
        }
        field("child-id", &hex(&child));
        let child = key.child_secret(&child).unwrap();
        field("child-secret", str::from_utf8(child.as_ref()).unwrap());
        text.push('\n');
    }
    text
}

fn random(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SysRng.try_fill_bytes(&mut bytes).unwrap();
    bytes
}
