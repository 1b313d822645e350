//! Attackers on the line after the login.

use super::stage::{FORGED, REQUESTS, Relayed, Wire};
use super::table::Fates;

/// The attacker takes over the line of a client that has logged in.
pub fn session_hijacking() -> Fates {
    let taken_over = |wire: Wire| {
        let Relayed {
            mut client,
            mut server,
            ..
        } = Relayed::on(wire);
        let [first, ..] = wire.requests_of(&mut client);
        server.hears(&[first, wire.wrapped(FORGED)].concat());
        let received = server.ends().unwrap().received;
        assert!(received.starts_with(REQUESTS[0]));
        received.ends_with(FORGED)
    };
    Fates::of(taken_over)
        .with("in mode 1", taken_over(Wire::Protected))
        .with("in mode 2", taken_over(Wire::Encrypted))
}

/// The attacker reads the requests on the line.
pub fn eavesdropping() -> Fates {
    let read = |wire: Wire| {
        let Relayed {
            mut client,
            mut server,
            ..
        } = Relayed::on(wire);
        let sent = wire.requests_of(&mut client).concat();
        server.hears(&sent);
        let login = server.ends().unwrap();
        assert_eq!(login.received, REQUESTS.map(|request| *request).concat());
        sent.windows(8).any(|part| part == REQUESTS[0])
    };
    Fates::of(read)
        .with("in mode 1", read(Wire::Protected))
        .with("in mode 2", read(Wire::Encrypted))
}

/// The line is cut between two requests, and the server believes that the client has ended.
pub fn truncation() -> Fates {
    let cut = |wire: Wire| {
        let Relayed {
            mut client,
            mut server,
            ..
        } = Relayed::on(wire);
        let [first, ..] = wire.requests_of(&mut client);
        server.hears(&first);
        let login = server.ends().unwrap();
        assert_eq!(login.received, REQUESTS[0]);
        login.end.is_ok()
    };
    Fates::of(cut)
        .with("in mode 1", cut(Wire::Protected))
        .with("in mode 2", cut(Wire::Encrypted))
}

/// Requests are removed, swapped and repeated.
pub fn stream_modification() -> Fates {
    let modified = |wire: Wire| {
        let arrives = |order: &[usize]| {
            let Relayed {
                mut client,
                mut server,
                ..
            } = Relayed::on(wire);
            let [first, second, end] = wire.requests_of(&mut client);
            let sent = [first, second];
            for &at in order {
                server.hears(&sent[at]);
            }
            server.hears(&end);
            let expected: Vec<_> = order.iter().flat_map(|&at| *REQUESTS[at]).collect();
            let login = server.ends().unwrap();
            login.received == expected && login.end.is_ok()
        };
        assert!(arrives(&[0, 1]));
        [&[1][..], &[1, 0], &[0, 0, 1]].into_iter().any(arrives)
    };
    Fates::of(modified)
        .with("in mode 1", modified(Wire::Protected))
        .with("in mode 2", modified(Wire::Encrypted))
}
