//! What a client and a server are given, over both drivers.

use std::borrow::Cow;

use countersign::handshake::Prologue;
use countersign::{Binding, Client, Key, KeyLookup, Server};

use crate::support::{Driver, HonestClient, HonestServer, Wire, key};

fn prologue(service: &str, binding: Option<&Binding>) -> Prologue {
    Prologue::new(service).unwrap().bound(binding)
}

/// Whether a client is accepted by an honest server with this prologue.
fn is_accepted(driver: Driver, client: &Client, by: Prologue) -> bool {
    let mut wire = Wire::to(HonestServer::new(&key("ours"), by, b""));
    driver.client(&mut wire, client).is_ok()
}

/// Whether a server accepts an honest client with this key and prologue.
fn accepts<K: KeyLookup>(driver: Driver, server: &Server<K>, key: &Key, of: Prologue) -> bool {
    let mut wire = Wire::to(HonestClient::new(key, of, b""));
    driver.server(&mut wire, server).is_ok()
}

#[test]
fn an_end_with_a_binding_and_one_without_have_one_type_and_deny_each_other() {
    let (one, other) = ([1; 32], [2; 32]);
    let [one, other] = [&one, &other].map(Binding::tls_exporter);
    let bindings = [None, Some(&one), Some(&other)];
    let client = Client::new(key("ours")).service("billing/2").unwrap();
    let clients = bindings.map(|binding| client.bound(binding));
    let server = Server::new(key("ours")).service("billing/2").unwrap();
    let servers = bindings.map(|binding| server.bound(binding));
    for (at, own) in bindings.into_iter().enumerate() {
        for (other_at, peers) in bindings.into_iter().enumerate() {
            for &driver in Driver::ALL {
                let of_peer = || prologue("billing/2", peers);
                let context = format!("{driver:?}: {own:?} and {peers:?}");
                let agree = at == other_at;
                assert_eq!(
                    is_accepted(driver, &clients[at], of_peer()),
                    agree,
                    "{context}"
                );
                let accepted = accepts(driver, &servers[at], &key("ours"), of_peer());
                assert_eq!(accepted, agree, "{context}");
            }
        }
    }
    // The ends that they were made from are still without a binding.
    for &driver in Driver::ALL {
        assert!(is_accepted(driver, &client, prologue("billing/2", None)));
        let unbound = prologue("billing/2", None);
        assert!(accepts(driver, &server, &key("ours"), unbound));
    }
}

#[test]
fn the_last_binding_and_the_last_service_count_in_any_order() {
    let (one, other) = ([1; 32], [2; 32]);
    let [one, other] = [&one, &other].map(Binding::tls_exporter);
    let client = Client::new(key("ours")).service("archive/1").unwrap();
    let service_last = client.bound(Some(&one)).service("billing/2").unwrap();
    let binding_last = (client.service("billing/2").unwrap())
        .bound(Some(&other))
        .bound(Some(&one));
    for client in [&service_last, &binding_last] {
        for &driver in Driver::ALL {
            let both = prologue("billing/2", Some(&one));
            assert!(is_accepted(driver, client, both));
            for differs in [
                prologue("billing/2", Some(&other)),
                prologue("billing/2", None),
                prologue("archive/1", Some(&one)),
            ] {
                assert!(!is_accepted(driver, client, differs));
            }
        }
    }
    let unbound = binding_last.bound(None);
    for &driver in Driver::ALL {
        assert!(is_accepted(driver, &unbound, prologue("billing/2", None)));
    }
}

#[test]
fn a_server_is_cloned_without_its_look_up_and_the_clones_share_it() {
    /// It has no `Clone`.
    struct Store(Key);

    impl KeyLookup for Store {
        fn find(&self, id: &[u8]) -> Option<Cow<'_, Key>> {
            self.0.find(id)
        }
    }

    let server = Server::new(Store(key("ours")));
    let named = server.clone().service("billing/2").unwrap();
    for &driver in Driver::ALL {
        for (server, service) in [(&server, ""), (&named, "billing/2")] {
            let accepts = |service| {
                let of_client = prologue(service, None);
                accepts(driver, server, &key("ours"), of_client)
            };
            assert!(accepts(service));
            assert!(!accepts("archive/1"));
        }
    }
}
