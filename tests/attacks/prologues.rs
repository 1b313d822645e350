//! Ends whose services or channel bindings differ.

use countersign::Binding;
use countersign::handshake::Prologue;

use super::prologue;
use crate::support::{AnyMode, Pair, in_every_mode, key};

#[test]
fn a_client_is_not_rerouted_to_a_server_that_it_did_not_mean() {
    fn in_mode(mode: impl AnyMode) {
        let names = ["billing/2@node-7", "billing/2@node-8"];
        for meant in names {
            for reached in names {
                let run = Pair::of(&key("a"))
                    .with_prologues(prologue(meant), prologue(reached))
                    .run_in(mode, mode);
                if meant == reached {
                    run.assert_accepted();
                } else {
                    run.assert_denied(b"");
                }
            }
        }
    }

    in_every_mode!(in_mode);
}

#[test]
fn a_node_with_a_name_of_its_own_is_not_joined_to_itself() {
    // An attacker on the line returns the messages from node 7 to node 8 to their sender. Node 7
    // is a server too, and has the same key.
    let relayed = |own_name: &str, peer: &str| {
        Pair::of(&key("a"))
            .with_prologues(prologue(peer), prologue(own_name))
            .run()
    };
    relayed("billing/2@node-7", "billing/2@node-8").assert_denied(b"");
    // Without names the node takes itself for its peer.
    relayed("", "").assert_accepted();
}

#[test]
fn ends_whose_prologues_differ_in_any_byte_or_border_deny_each_other() {
    fn in_mode(mode: impl AnyMode) {
        let (exported, other) = ([7; 32], [8; 32]);
        let binding = Binding::tls_exporter(&exported);
        let text = [&b"tls-exporter:"[..], &exported].concat();
        let prologues = [
            ("empty", Prologue::EMPTY),
            ("service", prologue("x")),
            ("other case", prologue("X")),
            ("zero byte appended", prologue("x\0")),
            ("composed", prologue("\u{e9}")),
            ("decomposed", prologue("e\u{301}")),
            ("longest", prologue([b'x'; 255])),
            ("binding", Prologue::EMPTY.bound(Some(&binding))),
            (
                "other binding",
                Prologue::EMPTY.bound(Some(&Binding::tls_exporter(&other))),
            ),
            ("service and binding", prologue("x").bound(Some(&binding))),
            ("binding as service", prologue(&text)),
            (
                "binding joined to service",
                prologue([&b"x"[..], &text].concat()),
            ),
            // With the length of the binding, which is a byte between the two.
            (
                "border as service",
                prologue([&b"x\x2d"[..], &text].concat()),
            ),
            (
                "longest and binding",
                prologue([b'x'; 255]).bound(Some(&binding)),
            ),
        ];
        for (client, client_prologue) in &prologues {
            for (server, server_prologue) in &prologues {
                let run = Pair::of(&key("a"))
                    .with_prologues(client_prologue.clone(), server_prologue.clone())
                    .run_in(mode, mode);
                let accepted = run.client.is_accepted() && run.server.is_accepted();
                assert_eq!(accepted, client == server, "{client}, {server}");
                if !accepted {
                    run.assert_denied(b"");
                }
            }
        }
    }

    in_every_mode!(in_mode);
}

#[test]
fn a_handshake_is_bound_to_the_channel_that_was_given_last() {
    let (one, other) = ([1; 32], [2; 32]);
    let [one, other] = [one, other].map(|exported| Binding::tls_exporter(&exported));
    let (one, other) = (Some(&one), Some(&other));
    let (client, unbound) = (prologue("x").bound(one), || prologue("x"));
    for (server, accepted) in [
        (unbound().bound(one), true),
        (unbound().bound(other).bound(one), true),
        (unbound().bound(None).bound(one), true),
        (unbound().bound(one).bound(other), false),
        (unbound().bound(one).bound(None), false),
        (unbound().bound(other), false),
        (unbound(), false),
    ] {
        let pair = Pair::of(&key("a")).with_prologues(client.clone(), server);
        assert_eq!(pair.run().server.is_accepted(), accepted);
    }
}

#[test]
fn a_channel_binding_survives_a_service_name_that_is_given_after_it() {
    let binding = Binding::tls_exporter(&[7; 32]);
    let bound_first = Prologue::EMPTY
        .bound(Some(&binding))
        .service("billing/2")
        .unwrap();
    let bound_last = Prologue::new("billing/2").unwrap().bound(Some(&binding));
    let unbound = Prologue::new("billing/2").unwrap();
    for (server, accepted) in [(&bound_last, true), (&unbound, false)] {
        let pair = Pair::of(&key("one secret")).with_prologues(bound_first.clone(), server.clone());
        assert_eq!(pair.run().client.is_accepted(), accepted);
    }
}
