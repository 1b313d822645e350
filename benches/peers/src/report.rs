//! Writes the report as Markdown.

use std::fmt::Write;

use anyhow::Result;

use crate::machine::version_of;
use crate::results::Results;

mod faster;
mod goals;
mod tables;

pub fn of(results: &Results) -> String {
    let sections = [
        head(results),
        goals::of(results),
        tables::logins(results),
        tables::in_memory(results),
        tables::core(results),
        tables::crowd(results),
        tables::pending(results),
        tables::records(results),
        tables::builds(results),
        what_peers_give(),
        faster::of(results),
        method(results),
        versions(results),
        not_run(results),
    ];
    sections.join("\n")
}

const COMMAND: &str = "cargo run --release --manifest-path benches/peers/Cargo.toml -- --report";

fn head(results: &Results) -> String {
    let machine = &results.machine;
    let load = match &machine.load {
        Some(load) => format!(", load average {load} when it began"),
        None => String::new(),
    };
    let pinned = if machine.pinned {
        "everything but the builds on one core"
    } else {
        "**not pinned to one core**, so that latencies are noise"
    };
    format!(
        "\
# countersign beside what else there is

Written by one command, which runs all of it anew on your machine in less than ten minutes:

```text
{COMMAND}
```

{date}, on {cpu}, {cores} cores, {kernel}{load}; {pinned}; took {took:.1} min.
Absolute times hold for this machine; ratios are made of neighbours in the same round, and hold better.

![Time of one login as a multiple of the bare exchange of three messages](benches/peers/pictures/login.svg)

![CPU time of one login as clients become more](benches/peers/pictures/concurrency.svg)

countersign hides nothing that is sent and has no forward secrecy. Noise and TLS do more and cost more; [what each peer
gives](#what-each-peer-gives-that-countersign-does-not) stands below, and so does [where a peer is
faster](#where-a-peer-is-faster).
",
        date = machine.date,
        cpu = machine.cpu,
        cores = machine.cores,
        kernel = machine.kernel,
        took = results.took.as_secs_f64() / 60.0,
    )
}

fn what_peers_give() -> String {
    "\
## What each peer gives that countersign does not

| | |
|---|---|
| the recipe | Nothing but two messages in place of three. The server is not authenticated. |
| CPython's `multiprocessing` | It is in Python's standard library, with pickled objects on top. A listener without the key can get itself accepted. |
| Noise NNpsk0 | Encryption of all that follows, integrity, forward secrecy, from one exchange of ephemeral keys. |
| TLS 1.3 PSK, `psk_ke` | Encryption and integrity, a standard with many implementations. No forward secrecy. |
| TLS 1.3 PSK, `psk_dhe_ke` | The same with forward secrecy. |
| mutual TLS | The same, and identities that a third party vouches for: no secret is shared at all. |
| SCRAM-SHA-256 | A server stores what does not let it pose as the client; guesses at a password are slow. No encryption. The keys that a client caches let it in as the password does. |

And the other way round: the recipe, `multiprocessing` and SCRAM leave the connection bare after the login, as
countersign's mode 0 does; its mode 1 adds integrity, and under TLS a channel binding ties it to the connection.
"
    .to_owned()
}

fn method(results: &Results) -> String {
    let mut text = format!(
        "\
## Method

- In each of {rounds} rounds every kind has its turn of four logins on loopback, forth in one round and back in the next,
  so that none always has the same neighbour before it. The first of a turn does not count, since it finds the caches
  as its neighbour left them. Ratios are made of the turns' medians, round by round, so that what disturbs the
  machine disturbs both; their median and quartiles are given.
- Whatever else has rounds goes forth and back in the same way, and discards the first of each turn: a batch of the core,
  a login in memory, four mebibytes of records, and with many clients one login of each. There the sizes of the crowd
  go forth and back too, and all peers log in equally often: {crowd_logins} times in a turn that counts, each client at
  least once.
- The floor is the three messages of countersign's native wire, 40, 73 and 33 bytes, as constants.
- A login begins before `connect` and ends when both ends have succeeded. Closing is not in it, except in
  logins a second: the next begins when the server has closed. Both ends, the kernel's share included, have one core
  in common. In Rust they are two threads of one process, in Python two processes, so that a switch between these
  costs more.
- In Rust every socket has `TCP_NODELAY` and a timeout of five seconds for reading; whatever outlives a login, such as
  keys, contexts and certificates, is made before. Peers in Rust without sockets of their own make one call to write
  and one to read for each message.
- *Told*: TLS and Noise let a client finish before the server has judged its last message. So in the rows that are
  judged, TLS has one byte more, from the server once it has verified the client's Finished. Noise's second
  message tells the client, but its first can be an old one: the judged row has a third message of one byte
  by which the server learns that the client is alive. The rows beside them are without it, and for Noise with a
  fourth that answers it.
- In Python too the end that succeeds last stops the clock, which is the same for both processes: on either wire that
  is the listener, and what it says of the time is sent after the login. CPython's `multiprocessing` does not set
  `TCP_NODELAY`, and its messages alternate, so that this costs nothing; no timeout is set in Python.
- Of each peer's configurations the one is taken whose login in memory costs the least on this machine, chosen once, after
  rounds that warm up, with the candidates in turn. The rows beside it have the same:

",
        rounds = results.rounds,
        crowd_logins = results.crowd_logins,
    );
    for (id, choice) in &results.choices {
        let _ = writeln!(text, "  - {}: {choice}", id.name());
    }
    text += "
- OpenSSL does without a key exchange only where the two ends have no group in common, and its client makes a key share
  all the same: a TLS library that leaves it out would be faster at `psk_ke`. Tickets, resumption and the messages
  for middleboxes are off.
- SCRAM is the four messages of RFC 5802 in frames with a length, its cryptography by pbkdf2, hmac and sha2 with 4,096
  iterations. The server has stored keys, and the client hashes its password each time, or has kept what came of it.
- In memory both ends are futures that one thread polls in turn; what a poll takes and allocates is that end's.
  Allocations are counted at the C library, so that those of OpenSSL and AWS-LC are among them; `posix_memalign` and
  `aligned_alloc`, for a stricter alignment than usual, are not counted.
- Logins at once are tasks of tokio on one thread, all clients and the server's ends together; CPU is that thread's,
  with the kernel's share. Peers without sockets of their own are driven by one future for each, which is less than
  `tokio-rustls` or `tokio-openssl` do.
- Builds are of projects of their own from nothing, with the versions below, without flags or wrappers of the compiler from
  the environment, downloads not counted; the first two are built three times in turn, and the median counts, the
  others once.
";
    text
}

fn versions(results: &Results) -> String {
    let machine = &results.machine;
    let mut text = format!(
        "## Versions\n\nrustc {}; {}; {}; crates: ",
        machine.rustc,
        machine.python.as_deref().unwrap_or("no CPython"),
        machine.openssl
    );
    let crates = [
        "countersign",
        "snow",
        "openssl",
        "rustls",
        "aws-lc-rs",
        "ring",
        "rcgen",
        "pbkdf2",
        "hmac",
        "sha2",
        "base64",
        "getrandom",
        "tokio",
    ];
    let crates = crates.map(|name| format!("{name} {}", version_of(name)));
    text += &crates.join(", ");
    text += ".\n";
    text
}

fn not_run(results: &Results) -> String {
    let mut failures = Failures::default();
    for (id, outcome) in &results.logins {
        failures.note("one login", id.name(), outcome);
    }
    for (id, outcome) in &results.memory {
        failures.note("in memory", id.name(), outcome);
    }
    for (id, outcome) in &results.crowd {
        failures.note("many clients", id.name(), outcome);
    }
    for (id, outcome) in &results.pending {
        failures.note("pending", id.name(), outcome);
    }
    for (kind, outcome) in &results.records {
        failures.note("records", kind.name(), outcome);
    }
    for (name, outcome) in &results.builds {
        failures.note("build", name, outcome);
    }
    let mut text = "## What did not run\n\n".to_owned();
    for (name, error, measurements) in &failures.0 {
        let _ = writeln!(text, "- {name} ({}): {error}", measurements.join(", "));
    }
    if failures.0.is_empty() {
        text += "All that were meant to did.\n";
    }
    if results.builds.is_empty() {
        text += "\nThe builds were left out.\n";
    }
    text += "
The peers in Python have no row in memory, with many clients, or among pending logins: they block, and it is the
interpreter that would be measured. Of Noise and TLS only the rows that are judged have one with many clients.
";
    text
}

/// The missing measurements, by peer and reason.
#[derive(Default)]
struct Failures(Vec<(&'static str, String, Vec<&'static str>)>);

impl Failures {
    fn note<T>(&mut self, measurement: &'static str, name: &'static str, outcome: &Result<T>) {
        let Err(error) = outcome else { return };
        let error = format!("{error:#}");
        match (self.0.iter_mut()).find(|(other, reason, _)| *other == name && *reason == error) {
            Some((_, _, measurements)) => measurements.push(measurement),
            None => self.0.push((name, error, vec![measurement])),
        }
    }
}
